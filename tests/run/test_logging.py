"""Log records in the run's log: all from INFO on, without any change of what the console shows."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pystematic.run._logging import LoggingTap
from pystematic.run._streams import StreamTee
from tests.builders import run_python, write_program
from tests.run.builders import logged, open_log


def fresh_logging() -> Any:
    """Return a module `logging` of its own: pytest has handlers on the real one."""
    spec = importlib.util.find_spec("logging")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def emit(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return call(*args, **kwargs)


@contextlib.contextmanager
def tapped(module: ModuleType, **options: Any) -> Iterator[list[str]]:
    """Copy the records of a module `logging`; yields the lines that the log gets."""
    lines: list[str] = []
    tap = LoggingTap(lines.extend, emit, **options)
    tap.install(module)
    try:
        yield lines
    finally:
        tap.restore()


@contextlib.contextmanager
def console() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        yield stream


def test_info_is_in_the_log_and_not_on_an_unconfigured_console() -> None:
    module = fresh_logging()
    logger = module.getLogger("program")
    with console() as shown, tapped(module) as lines:
        logger.debug("a detail")
        logger.info("some news")
        logger.warning("a warning")
    assert lines == ["INFO program: some news", "WARNING program: a warning"]
    assert shown.getvalue() == "a warning\n"


def test_the_console_shows_what_its_configuration_lets_through() -> None:
    module = fresh_logging()
    with console() as shown:
        module.basicConfig(level=module.ERROR, format="%(message)s")
        with tapped(module) as lines:
            module.info("some news")
            module.error("an error")
    assert lines == ["INFO root: some news", "ERROR root: an error"]
    assert shown.getvalue() == "an error\n"


def test_basicconfig_during_the_run_works_as_without_us() -> None:
    module = fresh_logging()
    with console() as shown, tapped(module) as lines:
        module.basicConfig(level=module.DEBUG, format="%(levelname)s %(message)s")
        module.debug("a detail")
    assert lines == ["DEBUG root: a detail"]
    assert shown.getvalue() == "DEBUG a detail\n"
    assert module.getLogger().level == module.DEBUG


def test_the_programs_own_info_level_lets_info_through() -> None:
    module = fresh_logging()
    with console() as shown, tapped(module):
        module.basicConfig(format="%(message)s")
        module.info("not yet")
        module.getLogger().setLevel(module.INFO)
        module.info("now")
    assert shown.getvalue() == "now\n"


def test_a_logger_with_a_level_of_its_own_keeps_it() -> None:
    module = fresh_logging()
    logger = module.getLogger("a.b")
    module.getLogger("a").setLevel(module.ERROR)
    with console() as shown, tapped(module) as lines:
        logger.warning("not wanted")
        logger.error("an error")
    assert lines == ["ERROR a.b: an error"]
    assert shown.getvalue() == "an error\n"


def test_a_logger_that_does_not_propagate_is_logged_too() -> None:
    module = fresh_logging()
    stream = io.StringIO()
    logger = module.getLogger("quiet")
    logger.propagate = False
    logger.addHandler(module.StreamHandler(stream))
    with tapped(module) as lines:
        logger.info("inner news")
        logger.warning("inner warning")
    assert lines == ["INFO quiet: inner news", "WARNING quiet: inner warning"]
    assert stream.getvalue() == "inner warning\n"


def test_dictconfig_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fresh_logging()
    monkeypatch.setitem(sys.modules, "logging", module)
    monkeypatch.delitem(sys.modules, "logging.config", raising=False)
    monkeypatch.delitem(sys.modules, "logging.handlers", raising=False)
    old = module.getLogger("old")
    with console() as shown, tapped(module) as lines:
        import logging.config

        logging.config.dictConfig(
            {
                "version": 1,
                "formatters": {"f": {"format": "%(name)s|%(message)s"}},
                "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "f", "level": "WARNING"}},
                "root": {"level": "DEBUG", "handlers": ["console"]},
            }
        )
        old.warning("disabled by it")
        module.getLogger("new").debug("a detail")
        module.getLogger("new").warning("a warning")
    assert lines == ["DEBUG new: a detail", "WARNING new: a warning"]
    assert shown.getvalue() == "new|a warning\n"


def test_a_root_logger_that_lets_everything_through_still_does() -> None:
    module = fresh_logging()
    with console() as shown:
        module.basicConfig(level=module.NOTSET, format="%(message)s")
        with tapped(module) as lines:
            module.debug("a detail")
    assert lines == ["DEBUG root: a detail"]
    assert shown.getvalue() == "a detail\n"


def test_what_is_switched_off_stays_so() -> None:
    module = fresh_logging()
    module.disable(module.INFO)
    with console(), tapped(module) as lines:
        module.info("some news")
        module.warning("a warning")
    assert lines == ["WARNING root: a warning"]


def test_a_traceback_is_logged_without_local_variables() -> None:
    module = fresh_logging()
    with console(), tapped(module) as lines:
        try:
            local = "never shown"
            raise ValueError(f"of {len(local)}")
        except ValueError:
            module.getLogger("program").exception("it failed")
    assert lines[:2] == ["ERROR program: it failed", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: of 11"
    assert not any("'never shown'" in line for line in lines[3:] if "local =" not in line)


def test_a_stack_that_was_asked_for_is_logged() -> None:
    module = fresh_logging()
    with console(), tapped(module) as lines:
        module.warning("where am I", stack_info=True)
    assert lines[1] == "Stack (most recent call last):"


def test_the_programs_formatter_finds_the_record_as_it_was_made() -> None:
    module = fresh_logging()

    class Own(module.Formatter):  # type: ignore[misc, name-defined]
        def formatException(self, info: Any) -> str:  # noqa: N802 - its name there
            return "OWN TRACEBACK"

    stream = io.StringIO()
    handler = module.StreamHandler(stream)
    handler.setFormatter(Own("%(message)s"))
    module.getLogger().addHandler(handler)
    with tapped(module):
        module.error("it failed", exc_info=ValueError("x"))
    assert stream.getvalue() == "it failed\nOWN TRACEBACK\n"


def test_a_message_of_several_lines_is_several_lines() -> None:
    module = fresh_logging()
    with console(), tapped(module) as lines:
        module.warning("one\ntwo")
        module.warning("")
    assert lines == ["WARNING root: one", "two", "WARNING root: "]


def test_a_record_that_cannot_be_formatted_fails_as_without_us() -> None:
    module = fresh_logging()
    with console() as shown, tapped(module) as lines:
        module.warning("%d", "no number")
    assert lines == []
    assert "--- Logging error ---" in shown.getvalue()


def test_debug_shows_and_logs_every_record() -> None:
    module = fresh_logging()
    with console() as shown, tapped(module, debug=True) as lines:
        module.getLogger("program").debug("a detail")
        module.getLogger("program").warning("a warning")
    assert lines == ["DEBUG program: a detail", "WARNING program: a warning"]
    assert shown.getvalue() == "DEBUG program: a detail\na warning\n"


def test_debug_goes_to_the_programs_own_handlers() -> None:
    module = fresh_logging()
    with console() as shown:
        module.basicConfig(format="own: %(message)s")
        with tapped(module, debug=True):
            module.debug("a detail")
    assert shown.getvalue() == "own: a detail\n"


def test_debug_without_a_console_is_logged() -> None:
    module = fresh_logging()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        with tapped(module, debug=True) as lines:
            module.getLogger("program").debug("a detail")
    assert lines == ["DEBUG program: a detail"]


def test_everything_is_put_back() -> None:
    module = fresh_logging()
    before = (module.Logger.callHandlers, module.getLogger().level, list(module.getLogger().handlers))
    with tapped(module):
        assert module.getLogger().level == module.INFO
    assert (module.Logger.callHandlers, module.getLogger().level, module.getLogger().handlers) == before
    with console() as shown:
        module.getLogger().info("some news")
        module.getLogger().warning("a warning")
    assert shown.getvalue() == "a warning\n"


def test_a_level_that_the_program_has_set_stays() -> None:
    module = fresh_logging()
    with tapped(module):
        module.getLogger().setLevel(module.INFO)
    assert module.getLogger().level == module.INFO


def test_a_program_that_puts_back_the_level_it_found_puts_back_ours() -> None:
    module = fresh_logging()
    root = module.getLogger()
    with console() as shown, tapped(module) as lines:
        found = root.level
        root.setLevel(module.ERROR)
        root.setLevel(found)
        root.info("some news")
    assert root.level == module.WARNING
    assert lines == ["INFO root: some news"]
    assert shown.getvalue() == ""


def test_somebody_who_has_covered_us_in_turn_goes_on_working() -> None:
    module = fresh_logging()
    stream = io.StringIO()
    module.getLogger().addHandler(module.StreamHandler(stream))
    with tapped(module) as lines:
        ours = module.Logger.callHandlers
        module.Logger.callHandlers = lambda logger, record: ours(logger, record)
    module.getLogger().warning("afterwards")
    assert lines == []
    assert stream.getvalue() == "afterwards\n"


def test_a_tap_that_is_restored_before_logging_is_imported_is_never_installed() -> None:
    module = fresh_logging()
    lines: list[str] = []
    tap = LoggingTap(lines.extend, emit)
    tap.restore()
    tap.install(module)
    with console():
        module.warning("afterwards")
    assert lines == []


def test_a_record_that_comes_by_a_stream_is_not_logged_twice() -> None:
    module = fresh_logging()
    captured, elsewhere = io.StringIO(), io.StringIO()
    module.getLogger().addHandler(module.StreamHandler(captured))
    other = module.getLogger("elsewhere")
    other.propagate = False
    other.addHandler(module.StreamHandler(elsewhere))
    with tapped(module, is_copied=lambda stream: stream is captured) as lines:
        module.getLogger("program").info("some news")
        module.getLogger("program").warning("a warning")
        other.warning("elsewhere")
    assert lines == ["INFO program: some news", "WARNING elsewhere: elsewhere"]


def test_the_handler_of_last_resort_and_richs_handler_are_streams_too() -> None:
    module = fresh_logging()
    with console() as shown, tapped(module, is_copied=lambda stream: stream is shown) as lines:
        module.getLogger("program").warning("by last resort")

        class RichHandler(module.Handler):  # type: ignore[misc, name-defined]
            class console:  # noqa: N801 - its name there
                file = shown

            def emit(self, record: Any) -> None:
                print("rich:", record.getMessage(), file=self.console.file)

        module.getLogger().addHandler(RichHandler())
        module.getLogger("program").warning("by rich")
    assert lines == []
    assert shown.getvalue() == "by last resort\nrich: by rich\n"


def test_a_handler_above_the_level_of_the_record_is_no_stream_that_it_comes_by() -> None:
    module = fresh_logging()
    stream = io.StringIO()
    handler = module.StreamHandler(stream)
    handler.setLevel(module.ERROR)
    module.getLogger().addHandler(handler)
    with tapped(module, is_copied=lambda found: found is stream) as lines:
        module.warning("a warning")
    assert lines == ["WARNING root: a warning"]


def test_what_a_handler_writes_to_a_copied_stream_is_logged_once(tmp_path: Path) -> None:
    module = fresh_logging()
    stream = io.StringIO()
    module.getLogger().addHandler(module.StreamHandler(stream))
    with open_log(tmp_path / "log.txt") as log:
        tee = StreamTee(log)
        tee.install([stream])
        tap = LoggingTap(log.write_lines, tee.without_copy)
        tap.install(module)
        module.warning("a warning")
        stream.write("printed\n")
        tap.restore()
        tee.restore()
    assert stream.getvalue() == "a warning\nprinted\n"
    assert logged(tmp_path / "log.txt") == ["WARNING root: a warning", "printed"]


def test_records_of_many_threads_are_all_logged() -> None:
    module = fresh_logging()
    with tapped(module) as lines:
        threads = [
            threading.Thread(target=lambda name=name: [module.getLogger(name).info("%d", i) for i in range(100)])
            for name in "abcd"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(lines) == sorted(f"INFO {name}: {i}" for name in "abcd" for i in range(100))


PROGRAM = """
    import pystematic
    {before}

    @pystematic.experiment
    def train(parameters):
        import logging, warnings
        {main}

    if __name__ == "__main__":
        train.cli()
"""


BASIC_CONFIG = "import logging; logging.basicConfig(level='INFO', format='%(message)s')"
NEWS = 'logging.info("news"); logging.warning("careful")'


@pytest.mark.parametrize(
    ("before", "main", "capture", "shown", "lines"),
    [
        ("", NEWS, "sys", "WARNING:root:careful\n", ["INFO root: news", "WARNING root: careful"]),
        ("", NEWS, "fd", "WARNING:root:careful\n", ["INFO root: news", "WARNING:root:careful"]),
        ("", NEWS, "off", "WARNING:root:careful\n", []),
        (BASIC_CONFIG, NEWS, "sys", "news\ncareful\n", ["INFO root: news", "WARNING root: careful"]),
        (BASIC_CONFIG, NEWS, "fd", "news\ncareful\n", ["news", "careful"]),
        ("", "warnings.warn('old')", "sys", "prog.py:7: UserWarning: old\n  warnings.warn('old')\n",
         ["prog.py:7: UserWarning: old", "  warnings.warn('old')"]),
        ("", "warnings.warn('old')", "fd", "prog.py:7: UserWarning: old\n  warnings.warn('old')\n",
         ["prog.py:7: UserWarning: old", "  warnings.warn('old')"]),
    ],
)  # fmt: skip
def test_a_real_program_looks_on_the_console_as_without_us(
    working_dir: Path, before: str, main: str, capture: str, shown: str, lines: list[str]
) -> None:
    write_program(working_dir, PROGRAM.format(before=before, main=main))
    done = run_python("prog.py", "--capture", capture, cwd=working_dir)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.replace(f"{working_dir}/", "") == shown
    [run_dir] = (working_dir / "output").glob("*/*")
    _first, *found, last = [line.replace(f"{working_dir}/", "") for line in logged(run_dir / "log.txt")]
    assert found == lines
    assert last == "completed, exit code 0"


@pytest.mark.parametrize("capture", ["sys", "fd", "off"])
def test_debug_of_a_real_program_shows_details(working_dir: Path, capture: str) -> None:
    write_program(working_dir, PROGRAM.format(before="", main="logging.getLogger('program').debug('a detail')"))
    done = run_python("prog.py", "--debug", "--capture", capture, cwd=working_dir)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "DEBUG program: a detail\n")


def test_the_real_module_is_left_as_it_was(tmp_path: Path) -> None:
    before = (logging.Logger.callHandlers, logging.getLogger().level, list(logging.getLogger().handlers))
    with tapped(logging):
        pass
    assert (logging.Logger.callHandlers, logging.getLogger().level, logging.getLogger().handlers) == before
