"""How a run can end, and the exit code and status that must come of it."""

from __future__ import annotations

import signal

from faults._harness import Ended, Place, expect, last_line

PROGRAM = """
    import ctypes, os, signal, sys, threading, time
    import pystematic

    def began():
        os.write(int(os.environ["NOTIFY_FD"]), b"b")

    def wait():
        began()
        while True:
            time.sleep(60)

    def wait_among_excepts():
        began()
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass

    def compute():
        began()
        while True:
            pass

    def fail():
        local_variable = "never shown"
        raise ValueError("the words of the program")

    ENDS = {
        "return": lambda: None,
        "wait": wait,
        "wait-among-excepts": wait_among_excepts,
        "compute": compute,
        "fail": fail,
        "sys-exit-0": lambda: sys.exit(0),
        "sys-exit-none": lambda: sys.exit(),
        "sys-exit-3": lambda: sys.exit(3),
        "sys-exit-text": lambda: sys.exit("the words of the program"),
        "os-exit-5": lambda: os._exit(5),
        "segfault": lambda: ctypes.string_at(0),
        "raise-keyboard-interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
        "thread-left": lambda: threading.Thread(target=time.sleep, args=(0.3,)).start(),
    }

    @pystematic.parameter(name="end", type=str, required=True)
    @pystematic.experiment
    def train(parameters, context):
        context.recorder.scalar("loss", 0.5)
        print("a line of the program", flush=True)
        ENDS[parameters["end"]]()

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def _end(
    place: Place,
    how: str,
    *,
    code: int,
    status: str,
    sent: tuple[int, ...] = (),
    recorded_code: int | None = None,
    statuses: frozenset[str] = frozenset(),
) -> tuple[Ended, dict[str, object]]:
    program = place.write("prog.py", PROGRAM)
    process = place.start(program, "train", "--end", how, "--output-dir", place.output_dir, notify=True)
    if sent:
        process.wait_for(b"b")
        for number in sent:
            process.signal(number)
    ended = process.wait()
    runs = place.read()
    expect(ended.code == code, f"exit code {ended.code}, not {code}: {last_line(ended.stderr)}")
    expect(len(runs) == 1, f"{len(runs)} runs")
    expect(runs[0]["status"] in (statuses or {status}), f"status {runs[0]['status']}, not {status}")
    if status != "lost" and not statuses:
        wanted = code if recorded_code is None else recorded_code
        expect(runs[0]["exit_code"] == wanted, f"exit_code {runs[0]['exit_code']} in run.json, not {wanted}")
    log = _log(place)
    expect("a line of the program" in log, "log.txt has lost what was printed")
    return ended, runs[0]


def _log(place: Place) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in place.output_dir.glob("*/*/log.txt"))


def returned(place: Place) -> None:
    _end(place, "return", code=0, status="completed")


def interrupt(place: Place) -> None:
    _end(place, "wait", code=130, status="interrupted", sent=(signal.SIGINT,))


def interrupt_while_computing(place: Place) -> None:
    _end(place, "compute", code=130, status="interrupted", sent=(signal.SIGINT,))


def interrupt_twice(place: Place) -> None:
    both = frozenset({"interrupted", "lost"})  # the second may catch the end itself
    _end(place, "wait", code=130, status="interrupted", sent=(signal.SIGINT, signal.SIGINT), statuses=both)


def keyboard_interrupt_raised(place: Place) -> None:
    _end(place, "raise-keyboard-interrupt", code=130, status="interrupted")


def terminate(place: Place) -> None:
    ended, _ = _end(place, "wait", code=143, status="interrupted", sent=(signal.SIGTERM,))
    expect("Traceback" not in ended.stderr, "SIGTERM prints a traceback")


def terminate_among_excepts(place: Place) -> None:
    _end(place, "wait-among-excepts", code=143, status="interrupted", sent=(signal.SIGTERM,))


def hang_up(place: Place) -> None:
    _end(place, "wait", code=129, status="interrupted", sent=(signal.SIGHUP,))


def kill(place: Place) -> None:
    _end(place, "wait", code=137, status="lost", sent=(signal.SIGKILL,))


def sys_exit_0(place: Place) -> None:
    _end(place, "sys-exit-0", code=0, status="completed")


def sys_exit_none(place: Place) -> None:
    _end(place, "sys-exit-none", code=0, status="completed")


def sys_exit_3(place: Place) -> None:
    _end(place, "sys-exit-3", code=3, status="failed")


def sys_exit_text(place: Place) -> None:
    ended, _ = _end(place, "sys-exit-text", code=1, status="failed")
    expect("the words of the program" in ended.stderr, "the text given to sys.exit is not printed")


def exception(place: Place) -> None:
    ended, run = _end(place, "fail", code=1, status="failed")
    error = run["error"]
    expect(isinstance(error, dict) and error.get("type") == "ValueError", f"error in run.json is {error}")
    expect("the words of the program" in ended.stderr, "the exception is not printed")
    expect("prog.py" in ended.stderr, "the traceback does not show the program")
    expect("pystematic/run" not in ended.stderr, "the traceback shows our own frames")
    expect(str(run["path"]).rsplit("/", 1)[-1] in ended.stderr, "the run directory is not named")
    kept = "".join(path.read_text() for path in place.output_dir.glob("*/*/*") if path.is_file())
    expect("the words of the program" in _log(place), "log.txt has no traceback")
    expect("never shown = " not in kept and "'never shown'" not in kept, "a traceback shows local variables")


def os_exit(place: Place) -> None:
    _end(place, "os-exit-5", code=5, status="lost")


def segfault(place: Place) -> None:
    _end(place, "segfault", code=139, status="lost")
    expect("Segmentation fault" in _log(place), "log.txt has no trace of the crash")


def thread_left(place: Place) -> None:
    _end(place, "thread-left", code=0, status="completed")
