"""The thread that works beside a run: captures what it was made of, then shows every 15 s that it lives."""

from __future__ import annotations

import os
import threading
import time

from pystematic import rundir
from pystematic.run._provenance import KnownProvenance, Provenance, ProvenanceQuery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystematic.run._masking import Masker

HEARTBEAT_PERIOD_S = 15.0
SAMPLE_PERIOD_S = 10.0
CAPTURE_LIMIT_S = 30.0
# How often a run of a sweep looks whether it is asked to end.
POLL_PERIOD_S = 0.5
# How long a run that has ended waits for its capture.
FINISH_LIMIT_S = 5.0


class Keeper:
    """Writes ``environment.json``, ``source.patch`` and ``heartbeat`` of one run.

    Args:
        run_dir: whose files they are.
        query: the provenance that was asked for.
        masker: masks secrets in both documents.
        on_code: called in the thread with the hash of the code, once it is known.
        sample: called in the thread every ten seconds, the first time after ten.
        poll: called in the thread twice a second, until it returns True.
    """

    def __init__(
        self,
        run_dir: rundir.RunDir,
        query: ProvenanceQuery | KnownProvenance,
        masker: Masker,
        on_code: Callable[[str | None], None],
        sample: Callable[[], None] | None = None,
        poll: Callable[[], bool] | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._query = query
        self._masker = masker
        self._on_code = on_code
        self._sample = sample
        self._poll = poll
        self._deadline = time.monotonic() + CAPTURE_LIMIT_S
        self._captured = threading.Event()
        self._settled = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pystematic-keeper", daemon=True)

    def start(self) -> None:
        """Start the thread. Where there can be no further one the run goes on without its description."""
        try:
            self._thread.start()
        except RuntimeError:  # a limit of the system, or the interpreter is about to end
            self._captured.set()
            self._query.close()

    def wait(self, limit_s: float) -> None:
        """Wait until the code is captured, at most ``limit_s`` seconds."""
        self._captured.wait(max(0.0, limit_s))

    def settle(self, limit_s: float = FINISH_LIMIT_S) -> None:
        """Wait until the capture is over: forked meanwhile, a child would find modules half imported, for ever."""
        if self._thread.ident is not None:
            self._settled.wait(limit_s)

    def stop(self, limit_s: float = FINISH_LIMIT_S) -> None:
        """End the thread; a capture that is not finished after ``limit_s`` gives up what it waits for."""
        self._deadline = min(self._deadline, time.monotonic() + limit_s)
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(limit_s + 1.0)

    def _work(self) -> None:
        began_at = time.monotonic()
        try:
            self._capture()
        except Exception as error:  # whatever the machine has in store: the run matters more than its description
            self._write_environment({"schema": 1, "error": f"{type(error).__name__}: {error}"})
        finally:
            self._captured.set()
            self._query.close()
            self._settled.set()
        beat_at = time.monotonic() + HEARTBEAT_PERIOD_S
        sample_at = began_at + SAMPLE_PERIOD_S if self._sample is not None else float("inf")
        poll_at = began_at if self._poll is not None else float("inf")
        while not self._stopped.wait(max(0.0, min(beat_at, sample_at, poll_at) - time.monotonic())):
            now = time.monotonic()
            if now >= poll_at and self._poll is not None:
                poll_at = float("inf") if self._poll() else now + POLL_PERIOD_S
            if now >= beat_at:
                beat_at = now + HEARTBEAT_PERIOD_S
                self._beat()
            if now >= sample_at and self._sample is not None:
                sample_at = now + SAMPLE_PERIOD_S
                self._sample()

    def _capture(self) -> None:
        found: Provenance = self._query.collect(lambda: time.monotonic() > self._deadline)
        if found.patch:
            masked = self._masker.mask_patch(found.patch)
            if masked != found.patch:
                found.environment["git"]["masked"] = True  # the patch makes other files than those that were run
            try:
                rundir.replace_file(self._run_dir.patch_file, masked)
            except OSError as error:
                found.environment["patch_error"] = f"source.patch could not be written: {error.strerror}"
        self._on_code(found.code)
        self._captured.set()
        self._write_environment(found.environment)

    def _write_environment(self, environment: dict[str, object]) -> None:
        try:
            rundir.write_document(self._run_dir.environment_file, self._masker.mask_tree(environment))
        except OSError:  # a full disk; the next run will have one again
            return

    def _beat(self) -> None:
        path = os.fspath(self._run_dir.heartbeat_file)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666))
            os.utime(path)
        except OSError:
            return
