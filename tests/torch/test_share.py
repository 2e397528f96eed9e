"""The share of a micro-batch in an optimizer's step: what scales gradients so that they add up to the whole batch's."""

from __future__ import annotations

import pytest

from pystematic.errors import ExperimentError
from pystematic.torch._share import Share


def test_alone_every_batch_is_the_whole_step() -> None:
    share = Share(1)
    share.hand_out("context.loader", 64, 64)
    assert (share.scale, share.is_last, share.may_scale) == (1.0, True, False)


def test_without_a_loader_of_ours_nothing_is_scaled() -> None:
    assert Share(4).scale == 1.0


def test_an_even_batch_needs_no_scale() -> None:
    share = Share(4)
    share.hand_out("context.loader", 16, 64)
    assert share.scale == 1.0


def test_a_short_batch_weighs_by_the_samples_here() -> None:
    share = Share(2)
    share.hand_out("context.loader", 1, 3)
    assert share.scale == pytest.approx(2 / 3)


def test_a_sample_that_another_process_has_counts_nowhere() -> None:
    share = Share(3)
    share.hand_out("context.loader", 0, 2)
    assert (share.scale, share.repeated) == (0.0, True)


def test_it_is_told_when_what_is_computed_with_counts_nowhere() -> None:
    share = Share(2)
    told: list[object] = []
    share.on_repeated = share.on_hand_out = told.append
    share.hand_out("context.loader", 2, 4)
    share.hand_out("context.loader", 0, 1)
    outer = share.at_hand
    share.begin_batch(3)  # of an evaluation inside of the loop
    share.return_to(outer)
    share.hand_out("context.loader", 0, 1)
    assert told == [2, True, 0, False, True, 0]


@pytest.mark.parametrize("first", [2, 0])
def test_behind_a_window_numbers_may_be_of_all_of_it_if_it_had_samples_here(first: int) -> None:
    share = Share(2)
    told: list[bool] = []
    share.on_repeated = told.append
    for _ in range(2):
        share.open_window(5)
        share.hand_out("context.loader", first, 4)
        share.hand_out("context.loader", 0, 1)
        assert share.leaves_out(7)
        share.close_window()
        assert (share.leaves_out(1), share.leaves_out(7)) == (True, first == 0)
    assert told == ([True, False] * 2 if first else [True])


def test_a_window_weighs_by_all_of_its_samples_and_synchronises_in_the_last_batch() -> None:
    share = Share(2)
    share.open_window(64 + 64 + 10)
    seen = []
    for local, total, last in ((32, 64, False), (32, 64, False), (5, 10, True)):
        share.is_last = last
        share.hand_out("context.loader", local, total)
        seen.append((share.scale, share.is_last))
    share.close_window()
    assert sum(scale for scale, _ in seen) == pytest.approx(2 * (32 + 32 + 5) / 138)
    assert [last for _, last in seen] == [False, False, True]
    assert share.is_last


def test_two_loaders_in_one_step_are_refused_where_the_number_counts() -> None:
    share = Share(1)
    share.hand_out("context.labelled", 8, 8)
    share.hand_out("context.unlabelled", 8, 8)
    with pytest.raises(ExperimentError) as caught:
        share.scale  # noqa: B018
    assert str(caught.value) == (
        "one optimizer step used batches of two loaders (context.labelled and context.unlabelled), so that nobody "
        "knows how many samples the loss is a mean of. Say it: context.backward(loss, count=N)."
    )


def test_a_number_that_is_said_counts_instead_of_the_loaders() -> None:
    share = Share(2)
    share.hand_out("context.a", 8, 16)
    share.hand_out("context.b", 8, 16)
    share.count(3, 12)
    assert share.scale == 0.5
    share.forget_count()
    share.finish_step()
    share.hand_out("context.a", 8, 16)
    assert share.scale == 1.0


def test_the_next_step_may_use_another_loader() -> None:
    share = Share(1)
    for name in ("context.a", "context.b"):
        share.hand_out(name, 8, 8)
        assert share.scale == 1.0
        share.finish_step()


def test_a_step_ends_with_the_batch_or_with_the_window() -> None:
    ends = []
    share = Share(1)
    share.on_step_end = lambda: ends.append("end")
    share.hand_out("context.loader", 8, 8)
    share.end_batch()
    share.open_window(16)
    share.end_batch()
    share.end_batch()
    share.close_window()
    assert ends == ["end"]  # the step that the window is for is still to be taken
    share.end_batch()
    assert ends == ["end", "end"]
