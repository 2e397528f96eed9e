"""The loader among several processes: one order, every sample once, positions that any number can go on from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, RandomSampler, TensorDataset

from pystematic.errors import ExperimentError
from pystematic.torch import DataLoader
from pystematic.torch import _data as data_module
from pystematic.torch._data import rebuild
from pystematic.torch._share import Share


def as_rank(rank: int, world_size: int, make: Callable[[], Any]) -> Any:
    """Make a loader as process ``rank`` of ``world_size`` would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "get_rank", lambda: rank)
        patch.setattr(data_module, "get_num_processes", lambda: world_size)
        return make()


def numbers(count: int) -> TensorDataset:
    return TensorDataset(torch.arange(count))


def loaders(world_size: int, count: int, **options: Any) -> list[DataLoader]:
    options = {"batch_size": 8, "shuffle": True, "random_seed": 1, **options}
    return [as_rank(rank, world_size, lambda: DataLoader(numbers(count), **options)) for rank in range(world_size)]


def shared(loader: DataLoader, world_size: int = 1) -> list[tuple[list[int], int]]:
    """Return each batch of an epoch with how many of its samples count here."""
    share = Share(world_size)
    counts: list[Any] = []
    share.on_hand_out = counts.append
    loader.join(share, "context.loader", bool)
    return [(batch[0].tolist(), counts[-1]) for batch in loader]


@hypothesis.given(
    world_size=st.integers(1, 5), count=st.integers(1, 60), batch_size=st.integers(5, 20), seed=st.integers(0, 3)
)
def test_all_processes_together_see_the_batches_of_one(world_size: int, count: int, batch_size: int, seed: int) -> None:
    options = {"batch_size": batch_size, "random_seed": seed}
    (alone,) = loaders(1, count, **options)
    whole = [batch for batch, _ in shared(alone)]
    parts = [shared(loader, world_size) for loader in loaders(world_size, count, **options)]
    assert {len(part) for part in parts} == {len(whole)}
    for i, batch in enumerate(whole):
        assert [sample for part in parts for sample in part[i][0][: part[i][1]]] == batch
        assert all(len(part[i][0]) == max(1, part[i][1]) for part in parts)


@hypothesis.given(before=st.integers(1, 4), after=st.integers(1, 4), count=st.integers(8, 50), taken=st.integers(0, 6))
def test_any_number_of_processes_goes_on_where_another_number_stopped(
    before: int, after: int, count: int, taken: int
) -> None:
    (alone,) = loaders(1, count)
    whole = [batch for batch, _ in shared(alone)]
    taken = min(taken, len(whole))
    interrupted = loaders(before, count)[0]
    batches = iter(interrupted)
    for _ in range(taken):
        next(batches)
    state = interrupted.state_dict()
    resumed = loaders(after, count)
    for loader in resumed:
        loader.load_state_dict(state)
        assert loader.batch_index == taken
    parts = [shared(loader, after) for loader in resumed]
    rest = [[sample for part in parts for sample in part[i][0][: part[i][1]]] for i in range(len(parts[0]))]
    assert rest == whole[taken:]


def test_the_next_epoch_follows_a_resumed_one() -> None:
    (alone,) = loaders(1, 20)
    list(alone)
    second = [batch[0].tolist() for batch in alone]
    interrupted, resumed = loaders(1, 20)[0], loaders(1, 20)[0]
    batches = iter(interrupted)
    next(batches)
    resumed.load_state_dict(interrupted.state_dict())
    assert resumed.epoch == 0
    list(resumed)
    assert [batch[0].tolist() for batch in resumed] == second


def test_a_loop_left_early_ends_the_epoch() -> None:
    loader = loaders(1, 20)[0]
    for _ in loader:
        break
    assert loader.state_dict() == {"epoch": 1, "consumed": 0, "random_seed": 1}
    assert (loader.batch_index, loader.is_mid_epoch) == (0, False)


def test_a_batch_counts_when_it_is_handed_out() -> None:
    loader = loaders(1, 20)[0]
    seen = [(loader.batch_index, loader.state_dict()["consumed"]) for _ in loader]
    assert seen == [(1, 8), (2, 16), (3, 20)]


def test_the_batch_size_of_each_process_is_the_other_meaning() -> None:
    parts = [shared(loader, 2) for loader in loaders(2, 32, batch_size_per="process")]
    assert [len(batch) for batch, _ in parts[0]] == [8, 8]


def test_a_batch_with_fewer_samples_than_processes_is_refused() -> None:
    with pytest.raises(ValueError, match="some would get no sample") as caught:
        loaders(4, 32, batch_size=3)
    assert str(caught.value) == (
        "batch_size=3 is that of all processes together, and there are 4: some would get no sample. Make it larger, or "
        "say batch_size_per='process'."
    )


def test_whole_batches_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="cannot be divided among the processes"):
        as_rank(0, 2, lambda: DataLoader(numbers(8), batch_sampler=[[0, 1], [2, 3]]))


def test_sizes_are_known_before_the_data_are_loaded() -> None:
    loader = loaders(2, 20)[0]
    assert loader.sizes_ahead() == [8, 8, 4]
    loader.load_state_dict({"epoch": 0, "consumed": 16, "random_seed": 1})
    assert loader.sizes_ahead() == [4]


def test_a_loader_tells_of_training_batches_only() -> None:
    loader, share = loaders(1, 20)[0], Share(1)
    told: list[Any] = []
    share.on_hand_out = told.append
    evaluating = True
    loader.join(share, "context.loader", lambda: evaluating)
    list(loader)
    evaluating = False
    with torch.no_grad():
        list(loader)
    assert (told, loader.is_mid_epoch) == ([], False)
    list(loader)
    assert told == [8, 8, 4]


class Augmented(Dataset[Any]):
    """A data set whose samples draw from all global generators."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[int, float, float]:
        return index, random.random(), float(torch.rand(()))


def drawn(world_size: int, workers: int, seed_samples: bool = True) -> dict[int, tuple[float, float]]:
    found: dict[int, tuple[float, float]] = {}
    for rank in range(world_size):
        loader = as_rank(
            rank,
            world_size,
            lambda: DataLoader(
                Augmented(), 4, shuffle=True, random_seed=3, num_workers=workers, seed_samples=seed_samples
            ),
        )
        for indices, a, b in loader:
            found.update(zip(indices.tolist(), zip(a.tolist(), b.tolist(), strict=True), strict=True))
    return found


def test_random_augmentation_depends_on_seed_epoch_and_index_alone() -> None:
    alone = drawn(1, 0)
    assert len(set(alone.values())) == 12
    assert drawn(3, 0) == alone
    assert drawn(1, 2) == alone


def test_the_process_keeps_its_generators() -> None:
    random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state()
    drawn(1, 0)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_another_epoch_draws_other_numbers() -> None:
    loader = DataLoader(Augmented(), 12, random_seed=3)
    (first,), (second,) = list(loader), list(loader)
    assert first[0].tolist() == second[0].tolist()
    assert not torch.equal(first[1], second[1])


def test_samples_draw_on_where_they_are_not_seeded() -> None:
    assert drawn(1, 0, seed_samples=False) != drawn(1, 0, seed_samples=False)


class Stream(IterableDataset[int]):
    """An iterable data set."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(4))


def test_the_position_in_an_iterable_data_set_is_not_restored_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loader = as_rank(0, 2, lambda: DataLoader(Stream(), batch_size=2))
    loader.load_state_dict({"epoch": 3, "consumed": 2, "random_seed": 0})
    assert capsys.readouterr().err == "a loader: the position in an iterable data set is not restored.\n"
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"dataset": Stream(), "batch_size": 2}, "an iterable data set"),
        ({"dataset": numbers(4), "batch_sampler": [[0, 1], [2, 3]]}, "a batch sampler of its own"),
    ],
)
def test_a_torch_loader_that_cannot_be_divided_is_taken_by_one_process_only(arguments: Any, what: str) -> None:
    plain = torch.utils.data.DataLoader(**arguments)
    assert rebuild(plain, "context.loader", 1) is plain
    with pytest.raises(ExperimentError, match=rf"^context.loader is a loader of torch with {what}, .*batch_size= and"):
        rebuild(plain, "context.loader", 2)


def test_a_rebuilt_loader_keeps_the_order_that_its_sampler_has() -> None:
    some = RandomSampler(range(20), num_samples=5)
    rebuilt = rebuild(torch.utils.data.DataLoader(numbers(20), batch_size=4, sampler=some), "context.loader", 1)
    assert (rebuilt.sampler, len(rebuilt)) == (some, 2)
    repeating = RandomSampler(range(20), replacement=True)
    rebuilt = rebuild(torch.utils.data.DataLoader(numbers(20), batch_size=4, sampler=repeating), "context.loader", 1)
    assert rebuilt.sampler is repeating


def test_a_rebuilt_loader_takes_its_seed_from_the_generator() -> None:
    generator = torch.Generator().manual_seed(5)
    plain = torch.utils.data.DataLoader(numbers(20), batch_size=4, shuffle=True, generator=generator)
    assert rebuild(plain, "context.loader", 1).random_seed == 5


def test_a_sampler_with_a_generator_of_its_own_depends_on_seed_and_epoch_alone() -> None:
    def make() -> DataLoader:
        sampler = RandomSampler(range(20), generator=torch.Generator())
        return DataLoader(numbers(20), 8, sampler=sampler, random_seed=1)

    first = make()
    list(first)
    second = [batch[0].tolist() for batch in first]
    resumed = make()
    resumed.epoch = 1
    assert [batch[0].tolist() for batch in resumed] == second


def test_a_sample_that_counts_nowhere_ends_with_its_loop() -> None:
    share = Share(2)
    (outer, inner) = (as_rank(0, 2, lambda: DataLoader(numbers(3), batch_size=2)) for _ in range(2))
    for loader in (outer, inner):
        loader.join(share, "context.loader", lambda: True)
    seen = []
    for _ in outer:
        list(inner)
        seen.append(share.repeated)
    assert seen == [False, True]  # of the outer loop's batch, whose last one has one sample, of rank 1
    assert not share.repeated


def look_at_the_data_set(worker: int) -> None:
    info: Any = torch.utils.data.get_worker_info()
    assert len(info.dataset.tensors) == 1


def test_workers_find_the_attributes_of_the_data_set() -> None:
    loader = DataLoader(numbers(4), 4, num_workers=1, worker_init_fn=look_at_the_data_set)
    assert [batch[0].tolist() for batch in loader] == [[0, 1, 2, 3]]
