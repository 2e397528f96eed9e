"""`DataLoader`: batches in an order that depends on a seed and the epoch alone, on the device, with a progress bar.

torch's own loader works underneath (workers, collating, pinned memory). It is given the batches to load as lists of
indices by a `_Plan`, which is the only part that knows the order.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.utils.data

from pystematic.run import current
from pystematic.torch._placement import move
from pystematic.torch._world import is_master

if TYPE_CHECKING:
    from types import TracebackType

# How many loaders with an order of their own each run has made so far.
_loaders_of_runs: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


class DataLoader:
    """Load a data set in batches, like ``torch.utils.data.DataLoader``, which works underneath.

    The order is a function of the seed and the epoch alone; every iteration is the next epoch, in a new order. Random
    generators of the process are left as they are. Batches come on the device once the loader is registered with a
    context, or after `to`. ``limit_batches`` of the current run ends each epoch early.

        context.loader = pystematic.torch.DataLoader(train_set, batch_size=64, shuffle=True)
        for images, labels in context.loader:
            ...

    Attributes such as ``num_workers`` or ``collate_fn`` are those of torch's loader.

    Args:
        dataset: a data set with ``len()`` and indices, or an iterable one (whose order is its own business).
        batch_size: samples in a batch; None loads single samples, without collating.
        shuffle: whether each epoch has a random order.
        sampler: says which indices are loaded, in which order. It is asked once an epoch, with the process's generators
            seeded for it meanwhile, so that a sampler that draws from them depends on seed and epoch alone too.
        batch_sampler: the same for whole batches.
        random_seed: seed of the order. By default one drawn from the run's ``random_seed``, another for each loader
            that shuffles or has a sampler; 0 outside a run.
        drop_last: whether a last, shorter batch is left out.
        num_workers: processes that load; 0 loads in this one.
        collate_fn: makes a batch of a list of samples.
        pin_memory: whether batches are put into pinned memory, so that copying them to a GPU overlaps with computing.
            By default if the device is a GPU.
        move_output: whether batches are moved to the device.
        loading_bar: whether a progress bar is shown; it is on stderr, and only if that is a terminal.
        options: of torch's loader: ``timeout``, ``worker_init_fn``, ``prefetch_factor``, ``persistent_workers`` ...
            Of a ``generator`` the seed is taken where ``random_seed`` is not given.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        *,
        random_seed: int | None = None,
        drop_last: bool = False,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool | None = None,
        move_output: bool = True,
        loading_bar: bool = True,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        iterable = isinstance(dataset, torch.utils.data.IterableDataset)
        if (shuffle or iterable) and (sampler is not None or batch_sampler is not None):
            taken = "shuffle=True" if shuffle else "an iterable data set"
            raise ValueError(f"{taken} cannot be combined with sampler= or batch_sampler=: both decide the order")
        if iterable and shuffle:
            raise ValueError("shuffle=True needs a data set with len() and indices; an iterable one has its own order")
        if batch_sampler is not None and (batch_size not in (None, 1) or drop_last):
            raise ValueError("batch_sampler= makes whole batches; batch_size= and drop_last= cannot be given with it")
        if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
            raise ValueError(f"batch_size={batch_size!r}: a batch has at least one sample")
        if random_seed is None and generator is not None:
            random_seed = generator.initial_seed()
        has_own_order = shuffle or sampler is not None or batch_sampler is not None
        self.random_seed: int = _draw_seed(has_own_order) if random_seed is None else random_seed
        self.epoch = 0
        """The number of the next iteration over the data; may be set."""
        self._device: torch.device | None = None
        self._move_output = move_output
        self._loading_bar = loading_bar
        self._pin_if_gpu = pin_memory is None
        self._plan: _Plan | None = None
        if not iterable:
            self._plan = _Plan(dataset, self.random_seed, shuffle, sampler, batch_sampler, batch_size, drop_last)
        # Nothing but the seeds of the workers comes from this generator; without one they would come from the global.
        self._generator = torch.Generator()
        shape: dict[str, Any]
        if self._plan is None:
            shape = {"batch_size": batch_size, "drop_last": drop_last}
        elif self._plan.in_batches:
            shape = {"batch_sampler": self._plan}
        else:
            shape = {"batch_size": None, "sampler": self._plan}
        self._loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(
            dataset,
            num_workers=num_workers,
            collate_fn=collate_fn,
            pin_memory=bool(pin_memory),
            generator=self._generator,
            **shape,
            **options,
        )
        self.batch_size = batch_size if batch_sampler is None else None
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler

    def to(self, device: torch.device | str) -> Self:
        """Move the batches of every later iteration to ``device``."""
        self._device = torch.device(device)
        if self._pin_if_gpu:
            self._loader.pin_memory = self._device.type == "cuda" and torch.cuda.is_available()
        return self

    def __len__(self) -> int:
        """Return the number of batches of an epoch; a ``TypeError`` where the data set does not know its length."""
        return _limited(len(self._loader))

    def __iter__(self) -> Iterator[Any]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        self._generator.manual_seed(_mix(self.random_seed, epoch))
        if self._plan is not None:
            self._plan.epoch = epoch
        return self._batches(iter(self._loader))

    def _batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        limit = _limit()
        if self._plan is None and limit is not None:  # a plan ends by itself
            batches = itertools.islice(batches, limit)
        with _Bar(self, self._loading_bar) as bar:
            for batch in batches:
                yield move(batch, self._device) if self._move_output and self._device is not None else batch
                bar.advance()

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while a copy or a pickle is being put together
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._loader.dataset).__name__}, batch_size={self.batch_size})"


class SmartDataLoader(DataLoader):
    """`DataLoader` with the signature of pystematic-torch 1.x, where ``batch_size`` counts for each process."""

    def __init__(
        self,
        dataset: Any,
        shuffle: bool = False,
        random_seed: int | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        move_output: bool = True,
        loading_bar: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            dataset,
            # 1.x ignored `shuffle` where the order was decided otherwise.
            shuffle=shuffle and sampler is None and batch_sampler is None,
            random_seed=random_seed,
            sampler=sampler,
            batch_sampler=batch_sampler,
            move_output=move_output,
            loading_bar=loading_bar,
            **kwargs,
        )


BetterDataLoader = SmartDataLoader


class _Plan:
    """The indices of each batch of an epoch, in order: what torch's loader takes for its batch sampler."""

    def __init__(
        self,
        dataset: Any,
        seed: int,
        shuffle: bool,
        sampler: Iterable[Any] | None,
        batch_sampler: Iterable[list[Any]] | None,
        batch_size: int | None,
        drop_last: bool,
    ) -> None:
        self.epoch = 0
        self.in_batches = batch_sampler is not None or batch_size is not None
        self._dataset = dataset
        self._seed = seed
        self._shuffle = shuffle
        self._sampler = batch_sampler if batch_sampler is not None else sampler
        self._batch_size = batch_size if batch_sampler is None else None
        self._drop_last = drop_last

    def __len__(self) -> int:
        count = len(self._dataset if self._sampler is None else self._sampler)  # type: ignore[arg-type]
        if self._batch_size is None:
            return count
        return count // self._batch_size if self._drop_last else -(-count // self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        # The epoch is taken now: torch's loader asks for the first batch later, maybe after the next epoch was begun.
        return itertools.islice(self._steps(self.epoch), _limit())

    def _steps(self, epoch: int) -> Iterator[Any]:
        indices = self._indices(epoch) if self._sampler is None else self._ask(self._sampler, epoch)
        if self._batch_size is None:
            yield from indices
            return
        while batch := list(itertools.islice(indices, self._batch_size)):
            if len(batch) < self._batch_size and self._drop_last:
                return
            yield batch

    def _indices(self, epoch: int) -> Iterator[int]:
        count = len(self._dataset)
        if not self._shuffle:
            return iter(range(count))
        generator = torch.Generator().manual_seed(_mix(self._seed, epoch))
        return iter(torch.randperm(count, generator=generator).tolist())

    def _ask(self, sampler: Iterable[Any], epoch: int) -> Iterator[Any]:
        if callable(set_epoch := getattr(sampler, "set_epoch", None)):
            set_epoch(epoch)
        streams = _OwnStreams(_mix(self._seed, epoch))
        # All at once if it has an end; an endless one step by step, which costs a change of generators each time.
        share = None if hasattr(sampler, "__len__") else self._batch_size or 1
        with streams:
            iterator = iter(sampler)
        while True:
            with streams:
                indices = list(itertools.islice(iterator, share))
            yield from indices
            if share is None or len(indices) < share:
                return


class _OwnStreams:
    """While it is entered, the process's random generators (random, NumPy, torch) run on streams of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own: tuple[Any, Any, Any] | None = None

    def __enter__(self) -> None:
        self._outer = self._states()
        if self._own is not None:
            self._restore(self._own)
            return
        random.seed(self._seed)
        torch.default_generator.manual_seed(self._seed)  # not torch.manual_seed: that seeds the GPUs too
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed(self._seed % 2**32)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own = self._states()
        self._restore(self._outer)

    @staticmethod
    def _states() -> tuple[Any, Any, Any]:
        numpy = sys.modules.get("numpy")
        return random.getstate(), torch.get_rng_state(), None if numpy is None else numpy.random.get_state()

    @staticmethod
    def _restore(states: tuple[Any, Any, Any]) -> None:
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        if states[2] is not None:
            sys.modules["numpy"].random.set_state(states[2])


class _Bar:
    """The progress bar of one epoch; nothing where it is not wanted, or stderr is not a terminal."""

    def __init__(self, loader: DataLoader, wanted: bool) -> None:
        self._bar: Any = None
        if not (wanted and is_master() and sys.stderr is not None and sys.stderr.isatty()):
            return
        try:
            import threading

            import tqdm  # only where a bar is to be seen
        except ModuleNotFoundError:  # torch was installed without the extra; a bar is no reason to fail
            return

        class Bar(tqdm.tqdm):  # type: ignore[misc]
            monitor_interval = 0  # no thread beside the training

        Bar.set_lock(threading.RLock())  # by default one between processes, which may start a helper process
        try:
            total: int | None = len(loader)
        except TypeError:
            total = None
        self._bar = Bar(total=total, leave=True, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self) -> None:
        if self._bar is not None:
            self._bar.update()


def _limit() -> int | None:
    """Return how many batches the current run allows in an epoch."""
    run = current()
    limit = None if run is None else run.parameters.get("limit_batches")
    return None if limit is None else max(0, int(limit))


def _limited(count: int) -> int:
    limit = _limit()
    return count if limit is None else min(count, limit)


def _mix(seed: int, epoch: int) -> int:
    """Return a seed of 63 bits for an epoch, as unlike that of any other seed and epoch as can be."""
    digest = hashlib.blake2b(f"{seed}:{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _draw_seed(has_own_order: bool) -> int:
    run = current()
    if run is None:
        return 0
    number = 0
    if has_own_order:
        # Two loaders over data of one length must not walk in step: pairs of their samples would never mix.
        number = _loaders_of_runs.get(run, 0) + 1
        _loaders_of_runs[run] = number
    return int(run.seeds.new_seed(f"dataloader-{number}"))
