"""The data loader: its order, its neighbours' generators, its device, its length, its bar."""

from __future__ import annotations

import contextlib
import copy
import io
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import (
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from pystematic.torch import BetterDataLoader, DataLoader, SmartDataLoader
from tests.torch.builders import DEVICES, in_a_run

# Workers are forked by torch; Python 3.12 and later warn of it where torch has started threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


class Counting(IterableDataset[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


class Endless:
    """A sampler that has no end, and draws from the global generators."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield random.randrange(5) + int(np.random.randint(5)) + int(torch.randint(5, ()))


class Epochs:
    """A sampler that is told the epoch."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter([self.epochs[-1]])

    def __len__(self) -> int:
        return 1


def batches(loader: Iterable[Any]) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def global_states() -> list[Any]:
    name, keys, *rest = np.random.get_state()
    return [random.getstate(), torch.get_rng_state().tolist(), name, np.asarray(keys).tolist(), rest]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first = DataLoader(range(100), 8, shuffle=True, random_seed=5)
    epochs = [batches(first) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(flat(epochs[0])) == list(range(100))

    torch.manual_seed(123)
    second = DataLoader(range(100), 8, shuffle=True, random_seed=5)
    second.epoch = 1
    assert batches(second) == epochs[1]
    assert second.epoch == 2
    assert batches(DataLoader(range(100), 8, shuffle=True, random_seed=6)) != epochs[0]


def test_an_iteration_left_early_ends_its_epoch() -> None:
    loader = DataLoader(range(100), 8, shuffle=True)
    for _ in loader:
        break
    assert batches(loader) == batches_of_epoch(1)


def test_an_iterator_that_is_closed_late_does_not_end_the_next_epoch() -> None:
    loader = DataLoader(range(100), 8)
    left = iter(loader)
    next(left)
    following = iter(loader)
    next(following)
    left.close()
    assert loader.state_dict()["consumed"] == 8
    assert len(list(following)) == 12


def batches_of_epoch(epoch: int) -> list[list[int]]:
    loader = DataLoader(range(100), 8, shuffle=True)
    loader.epoch = epoch
    return batches(loader)


def test_two_iterations_at_once_are_two_epochs() -> None:
    loader = DataLoader(range(100), 8, shuffle=True)
    pairs = list(zip(loader, loader, strict=True))
    assert [one.tolist() for one, _ in pairs] == batches_of_epoch(0)
    assert [two.tolist() for _, two in pairs] == batches_of_epoch(1)


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_workers_change_nothing(options: dict[str, Any]) -> None:
    loader = DataLoader(range(100), 8, shuffle=True, **options)
    assert [batches(loader), batches(loader)] == [batches_of_epoch(0), batches_of_epoch(1)]


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True},
        {"shuffle": True, "num_workers": 1},
        {"sampler": RandomSampler(range(20))},
        {"sampler": WeightedRandomSampler([1.0] * 20, 20)},
        {"batch_sampler": torch.utils.data.BatchSampler(RandomSampler(range(20)), 3, False), "batch_size": 1},
    ],
    ids=["shuffle", "workers", "sampler", "weighted", "batch sampler"],
)
def test_global_generators_are_left_alone_and_do_not_matter(options: dict[str, Any]) -> None:
    before = global_states()
    loader = DataLoader(range(20), **{"batch_size": 3, **options})
    epochs = [batches(loader), batches(loader)]
    assert global_states() == before
    assert epochs[0] != epochs[1]
    torch.manual_seed(99)
    again = DataLoader(range(20), **{"batch_size": 3, **options})
    assert [batches(again), batches(again)] == epochs


def test_an_endless_sampler_is_asked_step_by_step() -> None:
    def first_batches(count: int) -> list[list[int]]:
        iterator = iter(DataLoader(range(20), 4, sampler=Endless(), random_seed=3))
        return [next(iterator).tolist() for _ in range(count)]

    before = global_states()
    drawn = first_batches(5)
    assert global_states() == before
    assert drawn == first_batches(5)
    assert drawn[0] != drawn[1]


def test_a_sampler_is_told_the_epoch() -> None:
    sampler = Epochs()
    loader = DataLoader(range(5), sampler=sampler)
    assert [batches(loader) for _ in range(3)] == [[[0]], [[1]], [[2]]]


def test_the_length_is_that_of_an_epoch() -> None:
    assert len(DataLoader(range(10), 4)) == 3
    assert len(DataLoader(range(10), 4, drop_last=True)) == 2
    assert len(DataLoader(range(10), None)) == 10
    assert len(DataLoader(range(10), 4, sampler=[1, 2, 3, 4, 5])) == 2
    assert len(DataLoader(range(10), batch_sampler=[[1], [2, 3]])) == 2
    with pytest.raises(TypeError):
        len(DataLoader(Counting(10), 4))


def test_the_last_batch_is_short_or_left_out() -> None:
    assert batches(DataLoader(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert batches(DataLoader(range(5), 2, drop_last=True)) == [[0, 1], [2, 3]]


def test_without_a_batch_size_samples_come_one_by_one() -> None:
    assert list(DataLoader(range(3), None)) == [0, 1, 2]


def test_an_iterable_data_set_has_its_own_order() -> None:
    assert batches(DataLoader(Counting(5), 2)) == [[0, 1], [2, 3], [4]]
    assert batches(DataLoader(Counting(5), 2, drop_last=True)) == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": Counting(3), "shuffle": True}, "shuffle=True needs a data set with len"),
        ({"dataset": Counting(3), "sampler": [1]}, "an iterable data set cannot be combined with sampler="),
        ({"shuffle": True, "sampler": [1]}, "shuffle=True cannot be combined with sampler="),
        ({"batch_sampler": [[1]], "batch_size": 4}, "batch_sampler= makes whole batches"),
        ({"batch_size": 0}, "batch_size=0: a batch has at least one sample"),
    ],
)
def test_contradicting_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(**{"dataset": range(3), **options})


@pytest.mark.parametrize("batch_size", ["4", 2.5, True])
def test_a_batch_size_is_whole(batch_size: Any) -> None:
    kind = type(batch_size).__name__
    with pytest.raises(TypeError, match=f"batch_size={batch_size!r}: expected a whole number, not a {kind}"):
        DataLoader(range(3), batch_size)
    assert batches(DataLoader(Counting(3), np.int64(2))) == [[0, 1], [2]]  # type: ignore[arg-type]


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="worker"):
        DataLoader(range(3), workers=3)


def test_the_arguments_of_torch_pass_through() -> None:
    loader = DataLoader(range(4), 2, collate_fn=sum)
    assert list(loader) == [1, 5]
    assert loader.num_workers == 0
    assert loader.collate_fn is sum
    assert len(loader.dataset) == 4
    with pytest.raises(AttributeError, match="no_such"):
        loader.no_such  # noqa: B018


def part_of_part(rows: TensorDataset) -> Subset[Any]:
    return Subset(Subset(rows, range(1, 10)), torch.tensor([4, 0, 2, 7, 1]))  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [TensorDataset, lambda *tensors: part_of_part(TensorDataset(*tensors))])
@pytest.mark.parametrize(
    "columns",
    [
        (torch.rand(10, 3), torch.arange(10)),
        (torch.rand(10, 4, 2, 3).to(memory_format=torch.channels_last),),
        (torch.rand(3, 10).T, torch.rand(10, 1, dtype=torch.float16)),
        (torch.rand(10, 2, requires_grad=True),),
        (torch.rand(10, 3, 64, 64), torch.arange(10)),
    ],
    ids=["contiguous", "channels last", "transposed", "trainable", "long"],
)
def test_rows_of_tensors_are_what_torchs_loader_makes_of_them(part: Any, columns: tuple[torch.Tensor, ...]) -> None:
    rows = part(*columns)
    ours = list(DataLoader(rows, batch_size=2, seed_samples=True))
    theirs = list(TorchLoader(rows, batch_size=2))
    assert len(ours) == len(theirs) == -(-len(rows) // 2)
    for our_batch, their_batch in zip(ours, theirs, strict=True):
        assert type(our_batch) is type(their_batch) is list
        for our, their in zip(our_batch, their_batch, strict=True):
            assert torch.equal(our, their)
            assert (our.dtype, our.stride(), our.requires_grad) == (their.dtype, their.stride(), their.requires_grad)


def test_rows_of_tensors_are_taken_by_the_indices_of_a_sampler() -> None:
    rows = TensorDataset(torch.arange(10))
    for indices in ([3, -1, 0], [torch.tensor(3), np.int64(-1), 0]):
        (batch,) = DataLoader(rows, batch_size=3, sampler=indices)
        assert batch[0].tolist() == [3, 9, 0]
    with pytest.raises(IndexError, match="out of"):
        list(DataLoader(rows, batch_size=2, sampler=[0, 10]))


def test_workers_take_the_same_rows_of_tensors() -> None:
    rows = TensorDataset(torch.arange(20), torch.rand(20, 3))
    here = list(DataLoader(rows, batch_size=6, shuffle=True, random_seed=1))
    from_workers = list(DataLoader(rows, batch_size=6, shuffle=True, random_seed=1, num_workers=2))
    assert len(here) == len(from_workers) == 4
    for ours, theirs in zip(here, from_workers, strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_rows_of_tensors_are_collated_as_the_program_says() -> None:
    rows = TensorDataset(torch.arange(4))
    assert list(DataLoader(rows, batch_size=4, collate_fn=len)) == [4]
    assert DataLoader(rows, batch_size=4).collate_fn is default_collate


class Doubled(TensorDataset):
    def __getitem__(self, index: Any) -> Any:
        return (self.tensors[0][index] * 2,)


def test_what_a_subclass_makes_of_a_row_counts() -> None:
    (batch,) = DataLoader(Doubled(torch.arange(3)), batch_size=3)
    assert batch[0].tolist() == [0, 2, 4]


@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_moved_after_to(device: str) -> None:
    samples = [(torch.tensor([index]), {"label": index}) for index in range(4)]
    loader = DataLoader(samples, 2).to(device)
    assert [(images.device.type, names["label"].device.type) for images, names in loader] == [(device, device)] * 2
    loader = DataLoader(samples, 2, move_output=False).to("meta")
    assert {images.device.type for images, _ in loader} == {"cpu"}


def test_a_copy_is_a_loader_of_its_own() -> None:
    loader = DataLoader(range(9), 3, shuffle=True)
    copied = copy.deepcopy(loader)
    assert batches(copied) == batches(loader)


def test_a_generator_gives_its_seed() -> None:
    generator = torch.Generator().manual_seed(7)
    loader = DataLoader(range(9), 3, shuffle=True, generator=generator)
    assert loader.random_seed == 7
    assert batches(loader) == batches(DataLoader(range(9), 3, shuffle=True, random_seed=7))


def test_the_loaders_of_1_x_take_shuffle_second() -> None:
    assert BetterDataLoader is SmartDataLoader
    loader = SmartDataLoader(range(9), True, 7, batch_size=3)
    assert batches(loader) == batches(DataLoader(range(9), 3, shuffle=True, random_seed=7))
    assert batches(SmartDataLoader(range(9), shuffle=True, sampler=[3, 4])) == [[3], [4]]


# -- in a run ------------------------------------------------------------------------------------------------------


def test_the_order_follows_the_random_seed_of_the_run() -> None:
    def main() -> Any:
        return batches(DataLoader(range(50), 10, shuffle=True))

    assert in_a_run(main, random_seed=1) == in_a_run(main, random_seed=1)
    assert in_a_run(main, random_seed=1) != in_a_run(main, random_seed=2)


def test_two_loaders_of_a_run_do_not_walk_in_step() -> None:
    def main() -> Any:
        validation = DataLoader(range(50), 10)  # has no order of its own, so it changes nothing for the others
        first, second = DataLoader(range(50), 10, shuffle=True), DataLoader(range(50), 10, shuffle=True)
        return batches(validation), batches(first), batches(second)

    def only_first() -> Any:
        return batches(DataLoader(range(50), 10, shuffle=True))

    validation, first, second = in_a_run(main)
    assert flat(validation) == list(range(50))
    assert first != second
    assert first == in_a_run(only_first)


def test_limit_batches_ends_each_epoch() -> None:
    def main() -> Any:
        loaders: list[DataLoader] = [
            DataLoader(range(9), 2),
            DataLoader(range(9), 2, num_workers=1),
            DataLoader(Counting(9), 2),
            DataLoader(range(9), 2, sampler=Endless()),
        ]
        return [len(list(loader)) for loader in loaders], len(loaders[0]), len(DataLoader(range(3), 2))

    assert in_a_run(main, limit_batches=2) == ([2, 2, 2, 2], 2, 2)
    assert in_a_run(lambda: (len(list(DataLoader(range(3)))), len(DataLoader(range(3)))), limit_batches=5) == (3, 3)


# -- the bar -------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar() -> None:
    with contextlib.redirect_stderr(Terminal()) as screen:
        assert len(list(DataLoader(range(6), 2))) == 3
    assert "3/3" in screen.getvalue()


def test_a_bar_is_closed_when_the_loop_is_left() -> None:
    with contextlib.redirect_stderr(Terminal()) as screen:
        for _ in DataLoader(range(6), 2):
            break
    assert screen.getvalue().endswith("\n")


@pytest.mark.parametrize(("screen", "wanted"), [(io.StringIO(), True), (Terminal(), False)])
def test_no_bar_elsewhere_or_when_it_is_switched_off(screen: io.StringIO, wanted: bool) -> None:
    with contextlib.redirect_stderr(screen):
        list(DataLoader(range(6), 2, loading_bar=wanted))
    assert screen.getvalue() == ""
