"""MLflow: a run in its local store, ``mlflow.db`` of the output folder, or where MLFLOW_TRACKING_URI points."""

from __future__ import annotations

import os
import time

from pystematic import rundir

from ._backend import Backend
from ._items import remove_quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._backend import RunFacts, ScalarBatch

# What MLflow takes in one request.
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
LONGEST_VALUE = 6000
LONGEST_NAME = 250
PENDING_LIMIT = 200_000
# What of ours a run of MLflow is: the run directory.
RUN_TAG = "pystematic_run"
# What stands for a secret in the parameters of a run.
MASKED_MARK = {"$type": "masked"}
# How MLflow calls the ends of a run.
STATUS_NAMES = {"completed": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "pruned": "KILLED"}
# A database that is being made; it is written to all the time, so one that is older than this is nobody's any more.
ASIDE_PREFIX = ".mlflow-"
ASIDE_STALE_S = 3600.0


class MlflowBackend(Backend):
    """Writes metrics, parameters and files. An experiment of ours is one of MLflow's, a run a run of the same name."""

    name = "mlflow"

    def __init__(self) -> None:
        self.dropped = 0
        self._pending: list[Any] = []
        self._status = "completed"

    def start(self, run: RunFacts) -> None:
        import logging

        # It announces its own database at every first use, in the middle of the program's output.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._metric_class, self._param_class = Metric, Param
        self._folder = run.folder
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        location = None
        if not uri:
            output = os.path.abspath(run.output_dir)
            _make_database(os.path.join(output, "mlflow.db"))
            uri = f"sqlite:///{os.path.join(output, 'mlflow.db')}"
            location = _file_uri(os.path.join(output, "mlartifacts"))
        self._client = MlflowClient(tracking_uri=uri)
        self._run_id = self._find_or_make_run(self._experiment_id(run.experiment, location), run)
        # What a run of MLflow has cannot be changed: a request that tries to is refused as a whole.
        self._params = set(self._client.get_run(self._run_id).data.params)
        self._log_params(run.params)

    def _experiment_id(self, name: str, location: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=location))
            except Exception:  # another run has made it in this moment
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _find_or_make_run(self, experiment_id: str, run: RunFacts) -> str:
        """Return the id of our run in MLflow; a run that is resumed goes on in the one it had."""
        quoted = run.folder.replace("'", "\\'")
        for found in self._client.search_runs([experiment_id], f"tags.{RUN_TAG} = '{quoted}'", max_results=1):
            self._client.update_run(found.info.run_id, status="RUNNING")
            return str(found.info.run_id)
        tags = {"mlflow.source.name": run.folder, RUN_TAG: run.folder}
        return str(self._client.create_run(experiment_id, run_name=run.run_id, tags=tags).info.run_id)

    def _log_params(self, params: Mapping[str, Any]) -> None:
        new = {_name(name): value for name, value in params.items() if _name(name) not in self._params}
        self._params.update(new)
        listed = [self._param_class(name, _shortened(value)) for name, value in new.items()]
        for i in range(0, len(listed), PARAMS_AT_ONCE):
            self._client.log_batch(self._run_id, params=listed[i : i + PARAMS_AT_ONCE])

    def write(self, batch: ScalarBatch) -> None:
        if len(self._pending) > PENDING_LIMIT:
            self.dropped += len(batch.tags)
            return
        self._pending += [
            self._metric_class(_name(tag), _to_float(value), int(now * 1000), int(step))
            for tag, step, now, value in zip(batch.tags, batch.steps, batch.times, batch.values, strict=True)
        ]

    def flush(self) -> None:
        while self._pending:
            part = self._pending[:METRICS_AT_ONCE]
            self._client.log_batch(self._run_id, metrics=part)
            del self._pending[: len(part)]

    def write_item(self, item: rundir.Item) -> None:
        if item.kind == "params":
            self._log_params(item.data["params"])
        elif item.kind == "text" and item.file is None:
            self._client.log_text(self._run_id, item.data["text"], f"texts/{rundir.item_name(item.tag, item.step)}.txt")
        elif item.kind == "artifact" and item.file is not None and item.file.is_dir():
            self._client.log_artifacts(self._run_id, os.fspath(item.file), f"artifacts/{item.file.name}")
        elif item.file is not None:
            self._client.log_artifact(self._run_id, os.fspath(item.file), item.file.parent.name)
        else:
            name = f"{item.kind}s/{rundir.item_name(item.tag, item.step)}.json"
            self._client.log_dict(self._run_id, rundir.strict_json(rundir.encode_json(item.data)), name)

    def set_status(self, status: str) -> None:
        self._status = status

    def close(self) -> None:
        self.dropped += len(self._pending)
        status = STATUS_NAMES.get(self._status, "FINISHED")
        self._client.set_terminated(self._run_id, status, end_time=int(time.time() * 1000))


def _make_database(path: str) -> None:
    """Make MLflow's database aside, and put it in its place when it is whole.

    MLflow takes seconds for it and makes it in steps: where the process ends meanwhile, what is left can never be used
    again. Several runs may do this at once; the first one to be done wins.
    """
    from mlflow.tracking import MlflowClient

    folder = os.path.dirname(path)
    _remove_stale(folder)
    if os.path.exists(path):
        return
    os.makedirs(folder, exist_ok=True)
    aside = os.path.join(folder, f"{ASIDE_PREFIX}{os.getpid()}-{os.urandom(4).hex()}.db")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{aside}").search_experiments(max_results=1)
        _put_in_place(aside, path)
    finally:
        remove_quietly(aside)


def _put_in_place(aside: str, path: str) -> None:
    """Give a file its name, unless another file has it by now."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not os.path.exists(path):
            os.replace(aside, path)


def _remove_stale(folder: str) -> None:
    """Remove what processes have left behind that ended while they made a database."""
    try:
        found = [entry for entry in os.scandir(folder) if entry.name.startswith(ASIDE_PREFIX)]
        for entry in found:
            if time.time() - entry.stat().st_mtime > ASIDE_STALE_S:
                remove_quietly(entry.path)
    except OSError:
        return


def _name(tag: str) -> str:
    """Return a tag as MLflow allows it: another one only where need be, and then one that no other tag becomes."""
    kept = "".join(letter if letter.isalnum() or letter in "_-. :/" else "_" for letter in tag)
    parts = [part for part in kept.split("/") if part not in ("", ".", "..")]
    name = "/".join(parts)
    if name and name == tag and len(name) <= LONGEST_NAME and rundir.is_unicode(tag):
        return name
    import hashlib

    digest = hashlib.sha256(tag.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name.encode('ascii', 'replace').decode().replace('?', '_')[: LONGEST_NAME - 9]}-{digest}"


def _to_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _shortened(value: object) -> str:
    text = "***" if value == MASKED_MARK else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _file_uri(path: str) -> str:
    import pathlib

    return pathlib.Path(path).as_uri()


def make_backend() -> Backend:
    return MlflowBackend()
