"""``python -m pystematic`` is the command ``pystematic``."""

from pystematic.cli import main

if __name__ == "__main__":
    main()
