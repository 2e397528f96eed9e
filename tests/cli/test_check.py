"""Where two runs differ first, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from pystematic.cli._check import Steps, first_difference


def note(**changes: Any) -> dict[str, Any]:
    """Make the notes of one step."""
    step = {
        "losses": [[0.5, 4]],
        "gradients": {"context.model.weight": [1.0, 2.0]},
        "weights": {"context.model.weight": [3.0, 4.0]},
        "rates": [0.1],
        "kinds": ["Linear"],
    }
    return {**step, **changes}


def difference(one: list[dict[str, Any]], *others: list[dict[str, Any]]) -> tuple[int, str, str] | None:
    found = first_difference(Steps([one], {}), Steps(list(others), {}), 1e-9)
    return None if found is None else (found.step, found.what, found.reason)


def test_the_same_notes_have_no_difference() -> None:
    assert difference([note(), note()], [note(), note()], [note(), note()]) is None


def test_losses_are_merged_by_their_samples() -> None:
    parts = [note(losses=[[0.8, 1], [0.5, 1]])], [note(losses=[[0.35, 2]])], [note(losses=[[9.0, 0]])]
    assert difference([note()], *parts) is None


def test_the_first_step_whose_loss_differs_is_named() -> None:
    found = difference([note(), note(losses=[[0.25, 4]]), note(losses=[[0, 4]])], [note()] * 3, [note()] * 3)
    assert found is not None
    assert found[:2] == (1, "the loss is 0.25 in 1 process and 0.5 in 2 processes.")
    assert found[2].startswith("Weights were the same before it, so the data or the forward pass differ")


@pytest.mark.parametrize(("kind", "words"), [("BatchNorm1d", "--sync-batchnorm"), ("Dropout", "dropout draws")])
def test_a_module_that_is_known_to_differ_is_named_as_the_reason(kind: str, words: str) -> None:
    found = difference([note(losses=[[0.25, 4]], kinds=[kind])], [note()], [note()])
    assert found is not None
    assert words in found[2]


def test_ranks_with_their_own_gradients_are_not_synchronised() -> None:
    other = note(gradients={"context.model.weight": [1.0, 2.1]})
    found = difference([note()], [note()], [other])
    assert found is not None
    assert found[:2] == (0, "ranks have different gradients of context.model.weight.")
    assert "not synchronised" in found[2]


def test_other_gradients_of_the_same_loss_are_weighed_otherwise() -> None:
    other = note(gradients={"context.model.weight": [1.0, 2.1]})
    found = difference([note()], [other], [other])
    assert found is not None
    assert found[1] == "1 process and 2 processes have different gradients of context.model.weight."
    assert "weighed otherwise" in found[2]


def test_a_learning_rate_of_a_rank_is_named_at_its_step() -> None:
    found = difference([note(), note()], [note(), note()], [note(), note(rates=[0.2])])
    assert found is not None
    assert found[:2] == (1, "the learning rate is 0.1 in 1 process, and 0.1, 0.2 on the ranks of 2 processes.")


def test_other_weights_after_the_same_gradients_are_the_optimizers() -> None:
    found = difference([note()], [note()], [note(weights={"context.model.weight": [3.0, 4.1]})])
    assert found is not None
    assert found[:2] == (0, "the weights of context.model.weight differ after it.")


@pytest.mark.parametrize(("alone", "together"), [(2, [1, 2]), (1, [2, 2])])
def test_another_number_of_steps_is_a_difference(alone: int, together: list[int]) -> None:
    found = difference([note()] * alone, *([note()] * count for count in together))
    assert found is not None
    assert found[0] == 1
    assert "another number of batches" in found[2]


def test_what_is_recorded_is_compared_where_the_training_is_the_same() -> None:
    one = Steps([[note()]], {(0, "train/loss"): 0.5, (1, "train/loss"): 0.25})
    same = Steps([[note()], [note()]], dict(one.recorded))
    assert first_difference(one, same, 1e-9) is None
    other = Steps([[note()], [note()]], {(0, "train/loss"): 0.5, (1, "train/loss"): 0.75})
    found = first_difference(one, other, 1e-9)
    assert found is not None
    assert (found.step, found.what) == (1, "the recorded train/loss is 0.25 in 1 process and 0.75 in several.")
    missing = first_difference(one, Steps([[note()], [note()]], {(0, "train/loss"): 0.5}), 1e-9)
    assert missing is not None
    assert missing.what == "train/loss was recorded by one of them only."
