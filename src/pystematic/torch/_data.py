"""`DataLoader`: batches in an order that depends on a seed and the epoch alone, on the device, with a progress bar.

torch's own loader works underneath (workers, collating, pinned memory). It is given the batches to load as lists of
indices by a `_Plan`, which is the only part that knows the order.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import operator
import random
import sys
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.utils.data
from torch.utils.data import default_collate

from pystematic._words import short
from pystematic.errors import ExperimentError
from pystematic.run import current
from pystematic.torch._bound import begin_worker
from pystematic.torch._placement import move
from pystematic.torch._world import get_num_processes, get_rank, is_distributed, is_master

if TYPE_CHECKING:
    from types import TracebackType

    from pystematic.torch._share import Share

# How many loaders with a sampler were registered under each name, the same on all processes.
_joined: Counter[str] = Counter()
# How many loaders with an order of their own each run has made so far.
_loaders_of_runs: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


# Rows from here on are stacked as fast as they are taken at once; by workers, which share the memory, even faster.
_LONG_ROW_BYTES = 16 << 10


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
            seeded for it meanwhile (and its own, the attribute ``generator``), so that a sampler that draws from them
            depends on seed and epoch alone too. All processes ask theirs, and must get the same sequence.
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
        batch_size_per: ``"run"``: ``batch_size`` is that of all processes together, each of which gets its part of
            every batch; ``"process"``: it is that of each process.
        seed_samples: whether the generators of random, NumPy and torch are seeded for each sample while it is made,
            from seed, epoch and index, so that random augmentation is the same for any number of workers and
            processes. Costs some microseconds a sample. Rows of a ``TensorDataset`` (and of a ``Subset`` of one) draw
            nothing; they are taken a batch at a time instead, unless there is a ``collate_fn``.
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
        batch_size_per: str = "run",
        seed_samples: bool = True,
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
        if batch_size is not None:
            batch_size = read_count("batch_size", batch_size)
            if batch_size < 1:
                raise ValueError(f"batch_size={batch_size}: a batch has at least one sample")
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
        if batch_size_per not in ("run", "process"):
            raise ValueError(f"batch_size_per={batch_size_per!r}: expected 'run' or 'process'")
        self._plan: _Plan | None = None
        rank, world_size = get_rank(), get_num_processes()
        if batch_sampler is not None and world_size > 1:
            raise ValueError(
                "batch_sampler= makes whole batches, which cannot be divided among the processes of a run. Use "
                "batch_size= with sampler=, or divide the batches in the sampler and use torch's own DataLoader."
            )
        if not iterable:
            whole = batch_size
            if batch_size is not None and batch_size_per == "process":
                whole = batch_size * world_size
            elif batch_size is not None and batch_size < world_size:
                raise ValueError(
                    f"batch_size={batch_size} is that of all processes together, and there are {world_size}: some "
                    "would get no sample. Make it larger, or say batch_size_per='process'."
                )
            self._plan = _Plan(
                dataset, self.random_seed, shuffle, sampler, batch_sampler, whole, drop_last, rank, world_size
            )
            if _are_rows(dataset) and self._plan.in_batches and collate_fn in (None, default_collate):
                self.collate_fn = default_collate
                dataset, collate_fn = _Rows(dataset), _as_it_is
            elif seed_samples and not isinstance(dataset, _SeededSamples):
                dataset = _SeededSamples(dataset, self.random_seed, own_process=num_workers == 0)
                self._plan.with_epoch = True
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
        if num_workers:
            self._loader.worker_init_fn = functools.partial(begin_worker, self._loader.worker_init_fn)
        self._share: Share | None = None
        self._name = "a loader"
        self._has_trained = False
        self._iteration = 0
        self._held: tuple[dict[str, int], int] | None = None
        self._is_evaluating: Callable[[], bool] = bool
        self._dataset = dataset.dataset if isinstance(dataset, (_SeededSamples, _Rows)) else dataset
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

    def join(self, share: Share, name: str, is_evaluating: Callable[[], bool]) -> None:
        """Tell ``share`` from now on what is handed out for training; done by the context it is assigned to."""
        self._share, self._name, self._is_evaluating = share, name, is_evaluating
        if self._plan is not None and self.sampler is not None and is_distributed():
            _joined[name] += 1
            self._plan.shared_name = f"{name}/{_joined[name]}"

    @property
    def dataset(self) -> Any:
        """The data set."""
        return self._dataset

    @property
    def has_trained(self) -> bool:
        """Whether batches were handed out for training."""
        return self._has_trained

    @property
    def is_mid_epoch(self) -> bool:
        """Whether an epoch of training is under way."""
        return self._has_trained and self._plan is not None and self._plan.is_under_way

    def hold(self) -> None:
        """Stay at this position, for checkpoints, until the optimizer has taken its next step, or `release`."""
        if self._plan is not None and self._share is not None:
            self._held = (self._plan.position(self.epoch), self._share.steps_taken)

    def release(self) -> None:
        """Go on, for checkpoints, to where the batches are."""
        self._held = None

    @property
    def batch_index(self) -> int:
        """The number of batches of the current epoch that were handed out."""
        return 0 if self._plan is None else self._plan.batch_index

    def __len__(self) -> int:
        """Return the number of batches of an epoch; a ``TypeError`` where the data set does not know its length."""
        return _limited(len(self._loader if self._plan is None else self._plan))

    def sizes_ahead(self) -> list[int]:
        """Return the number of samples, of all processes together, of each batch of the next iteration.

        Raises:
            TypeError: the data set or its sampler does not know its length.
        """
        if self._plan is None:
            raise TypeError("an iterable data set does not tell how many samples its batches have")
        # An epoch that is still under way was left: the next iteration does not go on with it.
        done = 0 if self._plan.is_under_way else self._plan.batch_index
        sizes = self._plan.sizes(self.epoch)[done:]
        return sizes[: _limit()]

    def state_dict(self) -> dict[str, int]:
        """Return the position: the epoch, and how many of its samples all processes together have been handed."""
        if self._plan is None:
            return {"epoch": self.epoch, "consumed": 0, "random_seed": self.random_seed}
        position = self._plan.position(self.epoch)
        if self._held is not None and self._share is not None and self._held[1] == self._share.steps_taken:
            position = self._held[0]  # the window is used up, but its step was not taken
        return {**position, "random_seed": self.random_seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on at a position, with any number of processes or workers."""
        self.random_seed = int(state.get("random_seed", self.random_seed))
        self.epoch = int(state["epoch"])
        if self._plan is not None:
            self._plan.go_to(self.random_seed, int(state["consumed"]))
        elif is_master():
            print(f"{self._name}: the position in an iterable data set is not restored.", file=sys.stderr)

    def __iter__(self) -> Generator[Any, None, None]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        self._generator.manual_seed(_mix(self.random_seed, epoch))
        self._iteration += 1
        if self._plan is not None:
            if self._plan.is_under_way:  # left early, by somebody who still holds its iterator
                self._plan.end()
            self._plan.begin(epoch)
        return self._batches(iter(self._loader), self._iteration)

    def _batches(self, batches: Iterator[Any], iteration: int) -> Generator[Any, None, None]:
        limit = _limit()
        plan, share = self._plan, self._share
        if plan is None and limit is not None:  # a plan ends by itself
            batches = itertools.islice(batches, limit)
        outer = None if share is None else share.at_hand  # of a loop that this one stands in
        try:
            with _Bar(self, self._loading_bar) as bar:
                if share is not None and share.on_begin is not None and self._is_training():
                    # Before anything is loaded: samples that are made in this process may draw from its generators.
                    share.on_begin()
                for batch in _ahead(batches, self._device if self._move_output else None):
                    training = self._is_training()
                    local, total = plan.hand_out() if plan is not None else (None, None)
                    if share is not None:
                        if training:
                            share.hand_out(self._name, local, total)
                            self._has_trained = True
                        else:
                            share.begin_batch(local)
                    bar.advance()  # not after it: whoever takes the last batch of a window asks for no other one
                    yield batch
                    if training and share is not None:
                        share.end_batch()
        finally:
            if iteration == self._iteration:  # an older iterator that is closed late has nothing to end any more
                self.release()
                if share is not None and outer is not None:
                    share.return_to(outer)
                if plan is not None:
                    plan.end()

    def _is_training(self) -> bool:
        return self._share is not None and torch.is_grad_enabled() and not self._is_evaluating()

    def __getattr__(self, name: str) -> Any:
        if name in ("_loader", "_dataset"):  # while a copy or a pickle is being put together
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._dataset).__name__}, batch_size={self.batch_size})"


def rebuild(loader: torch.utils.data.DataLoader[Any], path: str, world_size: int) -> Any:
    """Return our loader with the arguments of one of torch's, and say so; that one itself where that is impossible.

    Raises:
        ExperimentError: it is impossible, and several processes would each get all of the data.
    """
    from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

    own_batches = loader.batch_size is None and loader.batch_sampler is not None
    custom_batches = type(loader.batch_sampler) is not BatchSampler and loader.batch_sampler is not None
    iterable = isinstance(loader.dataset, torch.utils.data.IterableDataset)
    if iterable or own_batches or custom_batches:
        what = "an iterable data set" if iterable else "a batch sampler of its own"
        if world_size > 1:
            raise ExperimentError(
                f"{path} is a loader of torch with {what}, which cannot be divided among {world_size} processes. Use "
                "pystematic.torch.DataLoader with a data set that you have divided by rank (context.rank of "
                "context.world_size), or with batch_size= and sampler=."
            )
        return loader
    # Exactly these: a sampler that repeats, takes some only, or is a subclass, has an order of its own.
    shuffle = type(loader.sampler) is RandomSampler and not loader.sampler.replacement
    shuffle = shuffle and len(loader.sampler) == len(loader.dataset)  # type: ignore[arg-type]
    plain = shuffle or type(loader.sampler) is SequentialSampler
    workers: dict[str, Any] = {} if not loader.num_workers else {"prefetch_factor": loader.prefetch_factor}
    made = DataLoader(
        loader.dataset,
        loader.batch_size,
        shuffle=shuffle,
        sampler=None if plain else loader.sampler,
        drop_last=loader.drop_last,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory or None,
        generator=loader.generator,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        persistent_workers=loader.persistent_workers,
        **workers,
    )
    if is_master():
        print(f"{path}: torch's loader was rebuilt as a pystematic.torch.DataLoader.", file=sys.stderr)
    return made


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
            **{"batch_size_per": "process", **kwargs},
        )


BetterDataLoader = SmartDataLoader


class _Plan:
    """The indices of each batch of an epoch, in order: what torch's loader takes for its batch sampler.

    A batch is one of the whole run; this process gets its slice. One without a share of a short batch gets its first
    sample, which then counts nowhere, so that all processes make the same steps.
    """

    def __init__(
        self,
        dataset: Any,
        seed: int,
        shuffle: bool,
        sampler: Iterable[Any] | None,
        batch_sampler: Iterable[list[Any]] | None,
        batch_size: int | None,
        drop_last: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.in_batches = batch_sampler is not None or batch_size is not None
        self.is_under_way = False
        self.with_epoch = False  # whether indices go out as (epoch, index)
        self.batch_index = 0
        self.shared_name: str | None = None  # under which the processes compare what their samplers give
        self._asked = 0
        self._epoch = 0
        self._dataset = dataset
        self._seed = seed
        self._shuffle = shuffle
        self._sampler = batch_sampler if batch_sampler is not None else sampler
        self._batch_size = batch_size if batch_sampler is None else None
        self._drop_last = drop_last
        self._rank = rank
        self._world_size = world_size
        self._consumed = 0  # of the epoch that is under way, by all processes together
        self._start = 0  # samples of the next epoch that were consumed before a checkpoint
        self._sizes: deque[int] = deque()  # of batches that torch's loader has asked for and not handed out yet

    def __len__(self) -> int:
        count = len(self._dataset if self._sampler is None else self._sampler)  # type: ignore[arg-type]
        if self._batch_size is None:
            return count
        return count // self._batch_size if self._drop_last else -(-count // self._batch_size)

    def sizes(self, epoch: int) -> list[int]:
        """Return the number of samples of each batch of an epoch."""
        if self._batch_size is None:
            if not self.in_batches:
                return [1] * len(self)
            assert self._sampler is not None
            len(self)  # one without an end is an error
            return [len(batch) for batch in self._ask(self._sampler, epoch)]
        count = len(self._dataset if self._sampler is None else self._sampler)  # type: ignore[arg-type]
        return [min(self._batch_size, count - i * self._batch_size) for i in range(len(self))]

    def begin(self, epoch: int) -> None:
        """Take note that an epoch is iterated now, from its start or from where a checkpoint was saved."""
        self._epoch = epoch
        self._consumed = self._start
        self.is_under_way = True
        self._sizes.clear()

    def end(self) -> None:
        """Take note that the epoch is over, or left early."""
        self._start = self._consumed = self.batch_index = 0
        self.is_under_way = False

    def hand_out(self) -> tuple[int, int]:
        """Take note of a batch that the program gets; return its samples on this process and on all together."""
        size = self._sizes.popleft()
        # Batches of somebody else's making are of any size, and cannot be divided: they are counted as such.
        self._consumed += size if self._batch_size is not None else 1
        self.batch_index += 1
        begin, end = self._bounds(size)
        return end - begin, size

    def position(self, next_epoch: int) -> dict[str, int]:
        """Return the epoch and how many of its samples are consumed; ``next_epoch`` is the one that comes next."""
        if self.is_under_way:
            return {"epoch": next_epoch - 1, "consumed": self._consumed}
        return {"epoch": next_epoch, "consumed": self._start}

    def go_to(self, seed: int, consumed: int) -> None:
        """Begin the next epoch behind ``consumed`` samples."""
        self._seed = seed
        self._start = consumed
        self.batch_index = -(-consumed // (self._batch_size or 1))

    def __iter__(self) -> Iterator[Any]:
        # Taken now: torch's loader asks for the first batch later, maybe after the next epoch was begun.
        limit = _limit()
        left = None if limit is None else max(0, limit + -self._start // (self._batch_size or 1))
        return itertools.islice(self._steps(self._epoch, self._start), left)

    def _steps(self, epoch: int, start: int) -> Iterator[Any]:
        indices: Iterator[Any] = self._indices(epoch) if self._sampler is None else self._ask(self._sampler, epoch)
        indices = itertools.islice(indices, start, None)
        mark = self._mark(epoch)
        if self._batch_size is None:
            for entry in indices:
                self._sizes.append(len(entry) if self.in_batches else 1)
                yield list(map(mark, entry)) if self.in_batches else mark(entry)
            return
        while batch := list(itertools.islice(indices, self._batch_size)):
            if len(batch) < self._batch_size and self._drop_last:
                return
            self._sizes.append(len(batch))
            begin, end = self._bounds(len(batch))
            if end - begin < len(batch):
                batch = batch[begin:end] or batch[:1]
            yield list(map(mark, batch)) if self.with_epoch else batch

    def _mark(self, epoch: int) -> Callable[[Any], Any]:
        return (lambda index: (epoch, index)) if self.with_epoch else (lambda index: index)

    def _bounds(self, size: int) -> tuple[int, int]:
        """Return which slice of a batch is this process's; sizes of slices differ by one at most."""
        return self._rank * size // self._world_size, (self._rank + 1) * size // self._world_size

    def _indices(self, epoch: int) -> Iterator[int]:
        count = len(self._dataset)
        if not self._shuffle:
            return iter(range(count))
        generator = torch.Generator().manual_seed(_mix(self._seed, epoch))
        return iter(torch.randperm(count, generator=generator).tolist())

    def _ask(self, sampler: Iterable[Any], epoch: int) -> Iterator[Any]:
        if callable(set_epoch := getattr(sampler, "set_epoch", None)):
            set_epoch(epoch)
        if isinstance(generator := getattr(sampler, "generator", None), torch.Generator):
            generator.manual_seed(_mix(self._seed, epoch))  # one of its own would go on from epoch to epoch
        self._asked += 1
        name = None if self.shared_name is None else f"{self.shared_name}/{self._asked}/{epoch}"
        streams = _OwnStreams(_mix(self._seed, epoch))
        # All at once if it has an end; an endless one step by step, which costs a change of generators each time.
        share = None if hasattr(sampler, "__len__") else self._batch_size or 1
        with streams:
            iterator = iter(sampler)
        while True:
            with streams:
                indices = list(itertools.islice(iterator, share))
            if name is not None:
                from pystematic.torch._comparison import check_sequence  # several processes only

                check_sequence(name, indices, self._rank, self._world_size)
                name = None  # of a sampler without an end the first part stands for it
            yield from indices
            if share is None or len(indices) < share:
                return


class _AsAsked(torch.utils.data.Dataset[Any]):
    """A data set that is asked in another way than torch's loader would."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while a copy or a pickle is being put together
            raise AttributeError(name)
        return getattr(self.dataset, name)  # for functions in workers, which find the data set by get_worker_info()


class _Rows(_AsAsked):
    """A `TensorDataset`, or a part of one, that is asked for whole batches: what `default_collate` makes of its rows.

    Nothing is drawn when a row is taken, so that no seed is needed.
    """

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[Any]) -> list[torch.Tensor]:
        rows, dataset = indices, self.dataset
        while type(dataset) is torch.utils.data.Subset:
            rows, dataset = [dataset.indices[row] for row in rows], dataset.dataset
        if not all(type(row) is int for row in rows) or not all(map(_is_table, dataset.tensors)):
            return default_collate([self.dataset[index] for index in indices])  # type: ignore[no-any-return]
        chosen = torch.tensor(rows)
        return [tensor[chosen] for tensor in dataset.tensors]


def _are_rows(dataset: Any) -> bool:
    # Exactly these: subclasses may make something of a row.
    while type(dataset) is torch.utils.data.Subset:
        dataset = dataset.dataset
    return type(dataset) is torch.utils.data.TensorDataset


def _is_table(tensor: torch.Tensor) -> bool:
    """Tell whether rows of ``tensor`` at once are what they are when stacked, memory format included, and sooner."""
    plain = type(tensor) is torch.Tensor and tensor.layout is torch.strided and tensor.is_contiguous()
    return plain and tensor.stride(0) * tensor.element_size() <= _LONG_ROW_BYTES


def _as_it_is(batch: Any) -> Any:
    return batch


class _SeededSamples(_AsAsked):
    """A data set whose samples are made while the global generators are seeded from seed, epoch and index.

    Args:
        dataset: the data set; asked for one sample after the other.
        seed: of the loader.
        own_process: whether samples are made in the program's own process, whose generators are then put back.
    """

    def __init__(self, dataset: Any, seed: int, *, own_process: bool) -> None:
        super().__init__(dataset)
        self._seed = seed
        self._own_process = own_process

    def __getitem__(self, key: tuple[int, Any]) -> Any:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: list[tuple[int, Any]]) -> list[Any]:
        states = _OwnStreams.states() if self._own_process else None
        try:
            return [self._make(epoch, index) for epoch, index in keys]
        finally:
            if states is not None:
                _OwnStreams.restore(states)

    def _make(self, epoch: int, index: Any) -> Any:
        seed = zlib.crc32(f"{self._seed}:{epoch}:{index}".encode())
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed(seed)
        return self.dataset[index]


class _OwnStreams:
    """While it is entered, the process's random generators (random, NumPy, torch) run on streams of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own: tuple[Any, Any, Any] | None = None

    def __enter__(self) -> None:
        self._outer = self.states()
        if self._own is not None:
            self.restore(self._own)
            return
        random.seed(self._seed)
        torch.default_generator.manual_seed(self._seed)  # not torch.manual_seed: that seeds the GPUs too
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed(self._seed % 2**32)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own = self.states()
        self.restore(self._outer)

    @staticmethod
    def states() -> tuple[Any, Any, Any]:
        numpy = sys.modules.get("numpy")
        return random.getstate(), torch.get_rng_state(), None if numpy is None else numpy.random.get_state()

    @staticmethod
    def restore(states: tuple[Any, Any, Any]) -> None:
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


def _ahead(batches: Iterator[Any], device: torch.device | None) -> Iterator[Any]:
    """Yield batches on ``device``. On a GPU the next one is on its way while the program computes with this one."""
    if device is None:
        yield from batches
        return
    if device.type != "cuda":
        for batch in batches:
            yield move(batch, device)
        return
    computing = torch.cuda.current_stream(device)
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    copied, used = torch.cuda.Event(), torch.cuda.Event()  # type: ignore[no-untyped-call]
    following: Any = None
    has_following = False
    for batch in itertools.chain(batches, [None]):
        ready, was_there = following, has_following
        if was_there:
            computing = torch.cuda.current_stream(device)
            copied.wait(computing)
        has_following = batch is not None
        following = None
        if has_following:
            # What the program has asked for so far comes before the copy. So memory that a batch has left free, which
            # the copy may get, is not written to while the batch is still computed with.
            used.record(computing)
            used.wait(copying)
            following = _move_on(copying, batch, device, computing)
            copied.record(copying)
        if was_there:
            yield ready


def _move_on(stream: torch.cuda.Stream, batch: Any, device: torch.device, back_to: torch.cuda.Stream) -> Any:
    """Return a batch whose copying is put into ``stream``; a `with` block of torch's costs twice as much."""
    current = torch.cuda.current_device()
    torch.cuda.set_stream(stream)
    try:
        return move(batch, device)
    finally:
        torch.cuda.set_stream(back_to)
        torch.cuda.set_device(current)  # that of a stream is made the current one


def read_count(name: str, value: Any) -> int:
    """Return a number of things as an int, which one of numpy may stand for.

    Raises:
        TypeError: it is no whole number.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={short(value)}: expected a whole number, not a {type(value).__name__}") from None


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
