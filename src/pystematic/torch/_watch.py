"""`CollectiveWatch`: names the process that all others wait for, with the lines of both.

Each process notes in the store, once a second at most, which collective it has called last and where. One that has
waited too long reads what the others have noted; one that is waited for writes where its main thread stands. Nothing
is exchanged in a collective itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pystematic._words import english_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MISSING_AFTER_S = 30.0
LOOK_PERIOD_S = 1.0
CLOSE_LIMIT_S = 2.0
# How long the answer of a process that is waited for may take; one that holds the interpreter in C code gives none.
ANSWER_LIMIT_S = 3.0
_STACK_DEPTH = 8
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class CollectiveWatch:
    """One process's part.

    Args:
        store: of the run; used by this thread alone, since clients of the store block each other.
        rank: of this process.
        world_size: of the run.
        missing_after_s: how long a process waits in a collective before the missing ones are named.
        say: shows a message; called in the thread.

    Attributes:
        finding: what was said last, or None.
    """

    def __init__(
        self, store: Any, rank: int, world_size: int, missing_after_s: float, say: Callable[[str], None]
    ) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._missing_after_s = missing_after_s
        self._period_s = min(LOOK_PERIOD_S, missing_after_s / 4)
        self._say = say
        self._main = threading.get_ident()
        # Sequence number, name, line, and since when it waits there: replaced as a whole, so that no lock is needed.
        self._last: tuple[int, str, str, float | None] = (0, "no collective", "its start", None)
        self._noted: tuple[int, bool] | None = None
        self._told = 0
        self.finding: str | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, name="pystematic-watch", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Take note that the ``with`` block is a collective that all processes call."""
        number = self._last[0] + 1
        where = _line_of_user()
        self._last = (number, name, where, time.monotonic())
        try:
            yield
        except RuntimeError as error:  # of torch, at the time limit of its collectives
            if self.finding is not None:
                error.add_note(self.finding)
            raise
        finally:
            self._last = (number, name, where, None)

    def close(self) -> None:
        """End the thread; this process calls no further collective."""
        self._last = (self._last[0], self._last[1], self._last[2], None)
        self._closed.set()
        self._thread.join(CLOSE_LIMIT_S)
        if not self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the store is gone, and with it whoever could wait
                self._note(ended=True)

    def _look(self) -> None:
        try:
            while not self._closed.wait(self._period_s):
                self._note()
                number, name, where, since = self._last
                if since is not None and number > self._told and time.monotonic() - since >= self._missing_after_s:
                    self._told = number
                    self._store.set("watch/waiting", json.dumps([self._rank, number, name, where]))
                    self._tell(number, name, where)
                elif since is None and self._store.check(["watch/waiting"]):
                    self._answer(*json.loads(self._store.get("watch/waiting")))
        except RuntimeError:  # the store is gone, and with it the run
            return

    def _note(self, *, ended: bool = False) -> None:
        number, name, where, since = self._last
        state = (number, since is not None)
        if ended or state != self._noted:
            self._noted = state
            self._store.set(f"watch/{self._rank}", json.dumps([number, name, where, since is not None, ended]))

    def _tell(self, number: int, name: str, where: str) -> None:
        """Say which processes are not where this one waits, and what they do instead."""
        deadline = time.monotonic() + ANSWER_LIMIT_S
        problems = [self._problem(rank, number, name, where, deadline) for rank in range(self._world_size)]
        found = [problem for problem in problems if problem is not None]
        if found:
            self.finding = "\n".join(
                [
                    f"rank {self._rank} has waited {self._missing_after_s:g} s in {name} ({where}) for "
                    f"{english_list([words for words, _ in found])}.",
                    *(stack for _, stack in found if stack),
                ]
            )
            self._say(self.finding)

    def _problem(self, rank: int, number: int, name: str, where: str, deadline: float) -> tuple[str, str] | None:
        if rank == self._rank:
            return None
        key = f"watch/{rank}"
        if not self._store.check([key]):
            return f"rank {rank}, which has called none", ""
        other_number, other_name, other_where, waits, ended = json.loads(self._store.get(key))
        if ended:
            return f"rank {rank}, whose main function has ended", ""
        if waits and other_number >= number:
            if (other_name, other_where) == (name, where):
                return None
            return f"rank {rank}, which is in {other_name} ({other_where})", ""
        answer = f"watch/{rank}/stack-{number}"
        while not self._store.check([answer]) and time.monotonic() < deadline:
            if self._closed.wait(0.1):
                break
        stack = ""
        if self._store.check([answer]):
            stack = f"rank {rank} is here:\n{self._store.get(answer).decode()}"
        last = f"which has last called {other_name} ({other_where})" if other_number else "which has called none"
        return f"rank {rank}, {last}", stack

    def _answer(self, rank: int, number: int, name: str, where: str) -> None:
        """Say where the main thread is, if it is the one that is waited for."""
        if self._last[0] >= number or number <= self._told:
            return
        self._told = number
        stack = _stack_of(self._main)
        self._store.set(f"watch/{self._rank}/stack-{number}", stack)
        self._say(f"rank {rank} waits in {name} ({where}) for this process, rank {self._rank}, which is here:\n{stack}")


def _line_of_user() -> str:
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_PACKAGE) or frame.f_globals.get("__name__") == "contextlib"
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _stack_of(thread: int) -> str:
    """Return the innermost lines of the stack of a thread, without ours."""
    import traceback  # for a hang only

    frames = [
        frame
        for frame in traceback.extract_stack(sys._current_frames().get(thread))
        if not frame.filename.startswith(_PACKAGE)
    ]
    return "".join(traceback.format_list(frames[-_STACK_DEPTH:])).rstrip()
