"""Which run ``--resume`` and ``--checkpoint`` mean, and that its recorded parameters count."""

from __future__ import annotations

import os

from pystematic import rundir
from pystematic.errors import NotFoundError, UsageError
from pystematic.store import Run, find_run, runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.cli._node import Node
    from pystematic.resolve import Parameters, Resolution

AUTO = "auto"


def find_resumed(node: Node, resolution: Resolution) -> Run | None:
    """Return the run that ``--resume`` means; None for ``auto`` where there is none to go on with.

    Args:
        node: the experiment.
        resolution: of its parameters, by the usual order.

    Raises:
        UsageError: there is no such run, or it is one of another experiment, or completed.
    """
    parameters = resolution.parameters
    text = str(parameters["resume"])
    output_dir = str(parameters.get("output_dir") or "output")
    if text == AUTO:
        return _newest_to_go_on_with(node, parameters, output_dir)
    try:
        run = find_run(text, output_dir, node.full_name)
    except NotFoundError as error:
        raise UsageError(f"--resume: {error}") from None
    if run.experiment != node.full_name:
        raise UsageError(f"--resume {text}: {run.id} is a run of {run.experiment}, not of {node.full_name}.")
    if run.status == "completed":
        raise UsageError(
            f"--resume {text}: {run.id} is completed. Start a new run from one of its states (--checkpoint "
            f"{os.path.join(os.path.relpath(run.path), 'checkpoints', 'FILE')}), or repeat it with 'pystematic rerun'."
        )
    return run


def _newest_to_go_on_with(node: Node, parameters: Parameters, output_dir: str) -> Run | None:
    """Return the newest run of the same batch job, or outside of one of the same parameters, that is not completed."""
    from pystematic.run import batch_job

    job = batch_job()
    try:
        found = runs(output_dir)
    except NotFoundError:
        return None
    for run in reversed(found):
        if run.experiment != node.full_name or run.status in ("completed", "pruned"):
            continue
        if job is not None:
            theirs = run.document.get("job")
            if isinstance(theirs, dict) and theirs.get("id") == job["id"] and theirs.get("task") == job["task"]:
                return run
        elif _given(run.params, run.sources, node) == _given(parameters, _sources(parameters), node):
            return run
    return None


def _given(values: object, sources: dict[str, str], node: Node) -> dict[str, str]:
    """Return the replayed parameters that somebody has given, as texts that can be compared."""
    assert isinstance(values, dict)
    given = {}
    for parameter in node.spec.parameters:
        name = parameter.name
        if parameter.replayed and name in values and not sources.get(name, "default").startswith("default"):
            given[name] = parameter.type.format(values[name])
    return given


def _sources(parameters: Parameters) -> dict[str, str]:
    return {name: parameters.source_of(name) for name in parameters}


def run_of_state(path: str) -> Run | None:
    """Return the run in whose folder a checkpoint lies."""
    found = rundir.run_of_checkpoint(path)
    return None if found is None else Run(found.path)
