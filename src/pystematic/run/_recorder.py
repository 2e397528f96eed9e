"""`RunRecorder`: the recorder of a run, whose steps may be those at whose end the run can stop."""

from __future__ import annotations

from pystematic.record import Recorder
from pystematic.rundir import RunDir, SeriesFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any

    from pystematic.record import RunFacts


# A metric is recorded right before the checkpoint that it belongs to.
TAIL_BYTES = 1 << 20


class RunRecorder(Recorder):
    """A recorder that tells its run of each step.

    Args:
        output_dir: the run directory.
        rank: of this process.
        world_size: of the run.
        run: what backends may know of it.
        mask: takes secrets out of what is recorded.
        on_step: called after each `step`; may raise what ends the run.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        *,
        rank: int,
        world_size: int,
        run: RunFacts,
        mask: Callable[[Any], Any] | None,
        on_step: Callable[[], None],
    ) -> None:
        super().__init__(output_dir, rank=rank, world_size=world_size, run=run, mask=mask)
        self._on_step = on_step
        self._file = RunDir(output_dir).metrics_file(rank)

    def last(self, tag: str) -> float | None:
        """Return the newest value under ``tag`` that is written, None where the last megabyte holds none."""
        found = None
        try:
            size = self._file.stat().st_size
            for tags, _, _, values in SeriesFile(self._file, max(0, size - TAIL_BYTES)).read(to_end=True):
                found = next(
                    (float(v) for t, v in zip(reversed(tags), reversed(values), strict=True) if t == tag), found
                )
        except OSError:
            return None
        return found

    def step(self) -> None:
        """Go on to the next step; the run may be stopped here."""
        super().step()
        self._on_step()
