"""`Share`: which part of an optimizer's step the micro-batch at hand is. Plain arithmetic; knows no tensors.

A loss is a mean over its samples. So that the gradients of all processes and micro-batches add up to those of the
whole batch in one process, those of a micro-batch are scaled by ``n_local * world / n_window``: its samples here,
times the number of processes (over which gradients are averaged), by the samples of the whole step.
"""

from __future__ import annotations

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Share:
    """Told by loaders and windows what they hand out, by the context what a step is; asked by hooks of modules.

    Args:
        world_size: of the run.

    Attributes:
        is_last: whether gradients are synchronised after the micro-batch at hand.
        may_scale: whether anything but 1 can come out of `scale`.
        repeated: whether the micro-batch at hand is a sample that another process has too, so that it counts nowhere.
        steps_taken: how many steps optimizers have taken.
        depth: how many registered modules are being called, one in the other; the outermost scales.
        on_begin: called before a training loader loads the first batch of an epoch.
        on_hand_out: called with the number of samples of each batch of this process, None where nobody knows it.
        on_repeated: called with whether what is computed with now counts nowhere, whenever that changes.
        on_step_end: called at the end of each step; may raise what ends the run.
    """

    def __init__(self, world_size: int) -> None:
        self._world_size = world_size
        self.is_last = True
        self.may_scale = world_size > 1
        self._local: int | None = None
        self._window: int | None = None
        self._counted: float | None = None
        self._source: str | None = None
        self._clash: tuple[str, str] | None = None
        self._window_base: int | None = None
        self._window_counted = 0
        self._has_own_samples = False  # whether anything in this window is no repetition
        self._is_behind_window = False
        self._told_repeated = False
        self.repeated = False
        self.depth = 0
        self.steps_taken = 0
        self.on_begin: Callable[[], None] | None = None
        self.on_hand_out: Callable[[int | None], None] | None = None
        self.on_repeated: Callable[[bool], None] | None = None
        self.on_step_end: Callable[[], None] | None = None

    @property
    def scale(self) -> float:
        """The factor for gradients of the micro-batch at hand.

        Raises:
            ExperimentError: two loaders had their turn in one step, so that its number of samples is not known.
        """
        if self._counted is not None:
            return self._counted
        if self._clash is not None:
            first, second = self._clash
            raise ExperimentError(
                f"one optimizer step used batches of two loaders ({first} and {second}), so that nobody knows how many "
                "samples the loss is a mean of. Say it: context.backward(loss, count=N)."
            )
        if self._local is None or not self._window:
            return 1.0
        return self._local * self._world_size / self._window

    def begin_batch(self, local: int | None) -> None:
        """Take note of a batch with ``local`` samples of this process, whether or not it trains."""
        self._has_own_samples = self._has_own_samples or local != 0
        self._is_behind_window = False
        self.repeated = local == 0
        self._tell_repeated(self.repeated)

    def _tell_repeated(self, is_repeated: bool) -> None:
        if is_repeated != self._told_repeated:
            self._told_repeated = is_repeated
            if self.on_repeated is not None:
                self.on_repeated(is_repeated)

    @property
    def at_hand(self) -> tuple[bool, bool, bool]:
        """What is known of the batch at hand, for a loop inside of its own to come back to."""
        return self.repeated, self._has_own_samples, self._is_behind_window

    def return_to(self, at_hand: tuple[bool, bool, bool]) -> None:
        """Take note that the batch of a loop further out is at hand again."""
        self.repeated, self._has_own_samples, self._is_behind_window = at_hand
        self._tell_repeated(self.repeated and not self._is_behind_window)

    def hand_out(self, source: str, local: int | None, total: int | None) -> None:
        """Take note of a training batch: ``local`` samples of it are here, ``total`` on all processes together.

        None for both: nobody knows; each process then weighs the same.
        """
        if self._source is not None and self._source != source:
            self._clash = (self._source, source)
        self._source = source
        self._local = local
        self.begin_batch(local)
        if not self._in_window:
            self._window = total
            self._window_base = None
            self._window_counted = 0
        if self.on_hand_out is not None:
            self.on_hand_out(local)

    _in_window = False

    def open_window(self, total: int) -> None:
        """Begin a step of several micro-batches with ``total`` samples on all processes together."""
        self.may_scale = True
        self._in_window = True
        self._window = total
        self._window_base = None
        self._window_counted = 0
        self._has_own_samples = False
        self.is_last = False

    def close_window(self) -> None:
        """Take note that the last micro-batch was used. The step itself is still to come, and so is its end."""
        self._in_window = False
        self._is_behind_window = self._has_own_samples
        if self.repeated and self._is_behind_window:
            # What is recorded here counts nowhere either, unless the program says that it is of the whole window.
            self._tell_repeated(False)
            if self.on_hand_out is not None:
                self.on_hand_out(0)
        self.is_last = True

    def count(self, local: int, total: int) -> None:
        """Use these numbers instead of a loader's for the next backward pass.

        In a window the sum over its micro-batches is not known yet: the first total stands for it, and
        `count_correction` is what the gradients are to be multiplied by before the step.
        """
        base = total
        if self._in_window:
            self._window_base = base = self._window_base or total
            self._window_counted += total
        self._counted = local * self._world_size / base if base else 0.0

    @property
    def is_repetition(self) -> bool:
        """Whether all that this process computes with in this step is a sample that another one has too."""
        return self.repeated and self._clash is None

    def leaves_out(self, n: float) -> bool:
        """Tell whether a number over ``n`` of anything is one of a sample that another process has too.

        Behind a window that had other samples here it may be one over all of them: only a single one surely is not.
        """
        return self.repeated and (not self._is_behind_window or n == 1)

    @property
    def count_correction(self) -> float:
        """The factor for the gradients of a window whose numbers of samples were told one by one."""
        return self._window_base / self._window_counted if self._window_base and self._window_counted else 1.0

    def forget_count(self) -> None:
        """Use the numbers of the loader again."""
        self._counted = None

    def end_batch(self) -> None:
        """Take note that the next batch is asked for: the step ends, unless it has further micro-batches."""
        if not self._in_window and self.on_step_end is not None:
            self.on_step_end()

    def finish_step(self) -> None:
        """Take note that the optimizer has taken its step."""
        self._source = self._clash = None
        self.steps_taken += 1
