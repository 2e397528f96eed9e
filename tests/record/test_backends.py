"""Every shipped backend passes the cases that authors of backends get, and is read back by its own library."""

from __future__ import annotations

import ast
import csv
import importlib
import io
import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pystematic import rundir
from pystematic.record import Backend, RunFacts, ScalarBatch
from pystematic.record import _mlflow as mlflow_module
from pystematic.record._console import ConsoleBackend
from pystematic.record._registry import make_backend
from pystematic.testing import BackendCases
from pystematic.testing._backends import record_one_of_each
from tests.builders import run_python, wait_until
from tests.record import wandb_log

Points = list[tuple[str, float, float]]


class TestMemory(BackendCases):
    """The smallest backend that can be written."""

    class Memory(Backend):
        name = "memory"

        def __init__(self, kept: dict[str, Points]) -> None:
            self.dropped = 0
            self._all = kept

        def start(self, run: RunFacts) -> None:
            self._kept = self._all.setdefault(run.folder, [])

        def write(self, batch: ScalarBatch) -> None:
            self._kept += zip(batch.tags, batch.steps, batch.values, strict=True)

    def make(self) -> Backend:
        self.kept: dict[str, Points] = getattr(self, "kept", {})
        return self.Memory(self.kept)

    def read(self, run: RunFacts) -> Points:
        return self.kept.get(run.folder, [])


class TestCsv(BackendCases):
    def make(self) -> Backend:
        return make_backend("csv")

    def read(self, run: RunFacts) -> Points:
        with open(rundir.RunDir(run.folder).csv_file, encoding="utf-8", newline="") as file:
            return [(row["tag"], float(row["step"]), float(row["value"])) for row in csv.DictReader(file)]


class TestConsole(BackendCases):
    """Printed without a pause and with all digits, so that it can be read back; big ints only count as such."""

    def make(self) -> Backend:
        self.stream = io.StringIO()
        return ConsoleBackend(self.stream, period_s=0.0, digits=17)

    def read(self, run: RunFacts) -> Points:
        points: Points = []
        for line in self.stream.getvalue().splitlines():
            _, step, numbers = line.split(" ", 2)
            for tag, value in re.findall(r" ('(?:[^'\\]|\\.)*'|\S+) (\S+)", numbers):
                plain = ast.literal_eval(tag) if tag.startswith("'") else tag
                points.append((plain, float(step), math.inf if value.startswith("0x") else float(value)))
        return points


@pytest.fixture(scope="module")
def event_reader() -> Any:
    """Return TensorBoard's own reader. Its import changes the process, and so comes before the look for leaks."""
    return importlib.import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator


class TestTensorBoard(BackendCases):
    relative_error = 1e-7  # it keeps 32 bits

    @pytest.fixture(autouse=True)
    def _reader(self, event_reader: Any) -> None:
        self.reader = event_reader

    def make(self) -> Backend:
        return make_backend("tensorboard")

    def read(self, run: RunFacts) -> Points:
        events = self.events(run)
        return [
            (tag, float(event.step), float(event.value))
            for tag in events.Tags()["scalars"]
            for event in events.Scalars(tag)
        ]

    def events(self, run: RunFacts) -> Any:
        folder = str(rundir.RunDir(run.folder).tensorboard_dir)
        events = self.reader(folder, dict.fromkeys(("scalars", "images", "tensors", "histograms"), 0))
        events.Reload()
        return events

    def test_pictures_histograms_and_texts_are_shown(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        for item in record_one_of_each(run.folder, tmp_path):
            backend.write_item(item)
        self.finish(backend, run)

        events = self.events(run)
        tags = events.Tags()
        assert tags["images"] == ["images/noise", "curve"]
        assert (events.Images("images/noise")[0].height, events.Images("images/noise")[0].width) == (4, 5)
        [histogram] = events.Histograms("weights")
        assert (
            histogram.histogram_value.num,
            histogram.histogram_value.max,
            sum(histogram.histogram_value.bucket),
        ) == (*(3.0, 2.0, 3.0),)
        [text] = events.Tensors("note")
        assert text.tensor_proto.string_val == [b"a <b>text</b> | x"]
        [parameters, *_] = events.Tensors("parameters")
        assert b"| learning_rate | 0.1 |" in parameters.tensor_proto.string_val[0]


class Service:
    """A library in the process, imported before the look for leaks, and what its cases share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0

    def facts(self) -> RunFacts:
        """Return the facts of a further run in the shared folder."""
        self.runs += 1
        path = self.folder / "output" / "train" / f"2026-01-02_03-04-05_run{self.runs:03}"
        path.mkdir(parents=True)
        params = {"learning_rate": 0.1, "layers": [1, 2], "name": "ü | x", "none": None}
        return RunFacts(str(path), path.name, "train", str(self.folder / "output"), params)


@pytest.fixture(scope="module")
def mlflow_service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("mlflow.tracking")
        importlib.import_module("polars")
        service = Service(tmp_path_factory.mktemp("mlflow"))
        first = make_backend("mlflow")
        first.start(service.facts())  # makes the data base, which takes longer than all cases
        first.close()
    return service


@pytest.mark.filterwarnings("ignore")  # its libraries warn of each other
class TestMlflow(BackendCases):
    @pytest.fixture(autouse=True)
    def _service(self, mlflow_service: Service) -> None:
        self.service = mlflow_service

    def make(self) -> Backend:
        return make_backend("mlflow")

    def facts(self, folder: Path) -> RunFacts:
        return self.service.facts()

    def read(self, run: RunFacts) -> Points:
        client, found = self.find(run)
        return [
            (metric.key, float(metric.step), float(metric.value))
            for tag in found.data.metrics
            for metric in client.get_metric_history(found.info.run_id, tag)
        ]

    def find(self, run: RunFacts) -> tuple[Any, Any]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{run.output_dir}/mlflow.db")
        experiment = client.get_experiment_by_name(run.experiment)
        [found] = client.search_runs([experiment.experiment_id], f"tags.mlflow.runName = '{run.run_id}'")
        return client, found

    def test_parameters_files_and_the_end_are_there(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        recorded = record_one_of_each(run.folder, tmp_path)
        backend = self.started(run)
        for item in recorded:
            backend.write_item(item)
        self.finish(backend, run)

        client, found = self.find(run)
        assert found.data.params["learning_rate"] == "0.1"
        assert found.data.params["width"] == "3"
        assert found.info.status == "FINISHED"
        assert sorted(entry.path for entry in client.list_artifacts(found.info.run_id)) == [
            *("artifacts", "datasets", "figures", "histograms", "images", "tables", "texts"),
        ]

    @pytest.mark.parametrize(
        ("status", "name"), [("failed", "FAILED"), ("interrupted", "KILLED"), ("completed", "FINISHED")]
    )
    def test_the_end_of_a_run_is_that_of_its_run(self, status: str, name: str) -> None:
        run = self.service.facts()
        backend = self.started(run)
        backend.set_status(status)
        self.finish(backend, run)

        assert self.find(run)[1].info.status == name

    def test_a_parameter_that_the_run_has_keeps_its_value_and_costs_no_other_one(self) -> None:
        run = self.service.facts()
        backend = self.started(run)
        params = {"extra": 1, "learning_rate": 5, "key": {"$type": "masked"}}
        backend.write_item(rundir.Item("params", "", 0, 1.75e9, {"params": params}, None))
        self.finish(backend, run)

        found = self.find(run)[1].data.params
        assert (found["extra"], found["learning_rate"], found["key"]) == ("1", "0.1", "***")

    def test_a_process_that_ends_while_the_database_is_made_leaves_no_broken_one(self, tmp_path: Path) -> None:
        program = """
import os, warnings
warnings.simplefilter("ignore")
import mlflow.store.db.utils
from pystematic.record import RunFacts
from pystematic.record._registry import make_backend
mlflow.store.db.utils._upgrade_db = lambda engine: os._exit(7)  # the tables are made, and not yet migrated
make_backend("mlflow").start(RunFacts("run", "run", "train", "output", {}))
"""
        done = run_python("-c", program, cwd=tmp_path)

        assert done.returncode == 7, done.stderr
        [left] = (tmp_path / "output").iterdir()
        assert left.name.startswith(mlflow_module.ASIDE_PREFIX)

    def test_what_was_left_of_a_database_is_removed_later(self, tmp_path: Path) -> None:
        old, new, other = (tmp_path / "output" / name for name in (".mlflow-1.db", ".mlflow-2.db", "mlflow.db"))
        old.parent.mkdir()
        for path in (old, new, other):
            path.touch()
        for path in (old, other):
            os.utime(path, (1e9, 1e9))
        mlflow_module._make_database(str(other))

        assert sorted(old.parent.iterdir()) == [new, other]

    def test_of_two_that_make_a_database_the_first_one_wins(self, tmp_path: Path) -> None:
        path = tmp_path / "mlflow.db"
        for content in ("first", "second"):
            aside = tmp_path / content
            aside.write_text(content)
            mlflow_module._put_in_place(str(aside), str(path))

        assert path.read_text() == "first"

    def test_a_run_that_is_resumed_goes_on_in_its_run(self) -> None:
        run = self.service.facts()
        for step in range(2):
            backend = self.started(run)
            backend.write(ScalarBatch(["a"], [step], [1.75e9], [float(step)]))
            self.finish(backend, run)

        self.assert_points(run, [("a", 0, 0.0), ("a", 1, 1.0)])
        assert self.find(run)[1].info.status == "FINISHED"

    def test_a_name_with_quotes_harms_nothing(self) -> None:
        run = self.service.facts()
        odd = Path(run.folder).with_name('it\'s "odd" %')
        odd.mkdir()
        facts = RunFacts(str(odd), odd.name, run.experiment, run.output_dir, {})
        for _ in range(2):
            backend = self.started(facts)
            self.finish(backend, facts)


@pytest.fixture(scope="module")
def wandb_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("WANDB_MODE", "offline")
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder / name.lower()))
        wandb = importlib.import_module("wandb")
        wandb.setup()
        service = Service(folder)
        first = make_backend("wandb")
        run = service.facts()
        first.start(run)  # sets hooks for imports that stay, as do libraries that other kinds bring with them
        for item in record_one_of_each(run.folder, folder):
            first.write_item(item)
        first.close()
        yield service
        wandb.teardown()


@pytest.mark.filterwarnings("ignore")
class TestWandb(BackendCases):
    @pytest.fixture(autouse=True)
    def _service(self, wandb_service: Service) -> None:
        self.service = wandb_service

    def make(self) -> Backend:
        return make_backend("wandb")

    def facts(self, folder: Path) -> RunFacts:
        return self.service.facts()

    def settle(self, run: RunFacts) -> None:
        wait_until(lambda: wandb_log.has_ended(Path(run.folder)))

    def read(self, run: RunFacts) -> Points:
        return [
            (tag, float(row["step"]), float(value))
            for row in wandb_log.read_history(Path(run.folder))
            for tag, value in row.items()
            if tag not in ("step", "_step", "_runtime", "_timestamp") and not isinstance(value, dict)
        ]

    def test_parameters_and_pictures_are_there(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        recorded = record_one_of_each(run.folder, tmp_path)
        backend = self.started(run)
        for item in recorded:
            backend.write_item(item)
        self.finish(backend, run)

        config = wandb_log.read_config(Path(run.folder))
        assert (config["learning_rate"], config["width"]) == (0.1, 3)
        media = {
            tag: value["_type"]
            for row in wandb_log.read_history(Path(run.folder))
            for tag, value in row.items()
            if isinstance(value, dict)
        }
        assert media == {
            "images/noise": "image-file",
            "weights": "histogram",
            "note": "html-file",
            "long": "table-file",
            "confusion": "table-file",
            "curve": "image-file",
        }


# -- what only one of them does ----------------------------------------------------------------------------------


def test_csv_is_appended_to_by_a_later_attempt(tmp_path: Path) -> None:
    cases = TestCsv()
    run = cases.facts(tmp_path)
    for value in (0.5, 0.25):
        backend = cases.started(run)
        backend.write(ScalarBatch(["a"], [1], [1.75e9], [value]))
        cases.finish(backend, run)

    assert rundir.RunDir(run.folder).csv_file.read_text() == (
        "tag,step,time,value\na,1,1750000000.000,0.5\na,1,1750000000.000,0.25\n"
    )


@pytest.fixture(scope="module")
def pandas() -> Any:
    """Return pandas, whose import changes the process, before the look for leaks."""
    return importlib.import_module("pandas")


def test_csv_becomes_a_column_for_each_tag_with_pandas(tmp_path: Path, pandas: Any) -> None:
    cases = TestCsv()
    run = cases.facts(tmp_path)
    backend = cases.started(run)
    backend.write(ScalarBatch(["loss", "acc", "loss"], [1, 1, 2], [1.75e9] * 3, [0.5, 0.25, 0.125]))
    cases.finish(backend, run)

    frame = pandas.read_csv(rundir.RunDir(run.folder).csv_file)
    wide = frame.pivot_table(index="step", columns="tag", values="value")
    assert wide.loc[1].to_dict() == {"acc": 0.25, "loss": 0.5}
    assert wide.loc[2, "loss"] == 0.125


def full_file(descriptor: int, data: bytes) -> int:
    raise OSError(28, "No space left on device")


def test_csv_keeps_what_a_full_disk_refuses_and_counts_what_it_drops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pystematic.record._csv.PENDING_LIMIT_BYTES", 100)
    cases = TestCsv()
    run = cases.facts(tmp_path)
    backend = cases.started(run)
    batch = ScalarBatch(["a"] * 10, list(range(10)), [1.75e9] * 10, [0.5] * 10)
    with monkeypatch.context() as patch:
        patch.setattr("os.write", full_file)
        for _ in range(2):
            backend.write(batch)
            with pytest.raises(OSError, match="No space left"):
                backend.flush()
    cases.finish(backend, run)

    assert backend.dropped == 10
    assert len(cases.read(run)) == 10


def printed(*batches: list[tuple[str, float, float]], period_s: float = 0.0) -> str:
    stream = io.StringIO()
    backend = ConsoleBackend(stream, period_s=period_s)
    for points in batches:
        tags, steps, values = ([point[i] for point in points] for i in range(3))
        backend.write(ScalarBatch(tags, steps, [1.75e9] * len(points), values))  # type: ignore[arg-type]
    backend.close()
    return stream.getvalue()


def test_the_console_shows_one_line_a_step() -> None:
    assert printed([("train/loss", 1, 0.123456789), ("val acc", 1, 3)], [("train/loss", 2, math.nan)]) == (
        "step 1  train/loss 0.12346  'val acc' 3\nstep 2  train/loss nan\n"
    )


def test_the_console_shows_the_first_and_the_last_step_and_few_between() -> None:
    assert printed([("a", step, step) for step in range(1000)], period_s=60.0) == "step 0  a 0\nstep 999  a 999\n"


def test_the_console_leaves_out_the_machines_meters() -> None:
    assert printed([("system/cpu_percent", 1, 5)]) == ""


def test_the_console_shows_no_control_characters() -> None:
    assert printed([("a\x1b[2J\n", 1, 1)]) == "step 1  'a\\x1b[2J\\n' 1\n"


def test_the_console_is_the_real_one(tmp_path: Path) -> None:
    program = (
        "import io, sys, pystematic\n"
        "sys.stdout = io.StringIO()\n"
        "with pystematic.Recorder('output') as recorder:\n"
        "    recorder.add_backend('console')\n"
        "    recorder.scalar('loss', 0.5, 3)\n"
    )

    assert run_python("-c", program, cwd=tmp_path).stdout == "step 3  loss 0.5\n"


def test_tensorboard_goes_on_where_a_full_disk_stopped_it(tmp_path: Path, event_reader: Any) -> None:
    cases = TestTensorBoard()
    cases.reader = event_reader
    run = cases.facts(tmp_path)
    backend: Any = cases.started(run)
    backend.flush()
    file, backend._file = backend._file, FullFile()
    backend.write(ScalarBatch(["a"], [1], [1.75e9], [0.5]))
    with pytest.raises(OSError, match="No space left"):
        backend.flush()
    backend._file = file
    backend.write(ScalarBatch(["a"], [2], [1.75e9], [0.25]))
    cases.finish(backend, run)

    assert backend.dropped == 0
    cases.assert_points(run, [("a", 1, 0.5), ("a", 2, 0.25)])


class FullFile:
    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        return


@pytest.mark.usefixtures("event_reader")
def test_tensorboard_counts_what_a_full_disk_never_took(tmp_path: Path) -> None:
    backend: Any = make_backend("tensorboard")
    backend.start(TestTensorBoard().facts(tmp_path))
    backend._file.close()
    backend._file = FullFile()
    backend.write(ScalarBatch(["a", "b"], [1, 1], [1.75e9] * 2, [0.5, 0.5]))
    with pytest.raises(OSError, match="No space left"):
        backend.flush()
    backend.close()

    assert backend.dropped == 2


@pytest.mark.parametrize(
    ("variables", "netrc", "mode"),
    [
        ({}, "", "offline"),
        ({"WANDB_API_KEY": "k" * 40}, "", "online"),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_MODE": "offline"}, "", "offline"),
        ({"WANDB_MODE": "online"}, "", "online"),
        ({}, "machine api.wandb.ai login user password k\n", "online"),
        ({}, "machine example.org login user password k\n", "offline"),
        ({"WANDB_BASE_URL": "https://example.org"}, "machine example.org login user password k\n", "online"),
        ({}, "damaged {", "offline"),
    ],
)
def test_wandb_is_online_only_where_a_key_is_known(
    variables: dict[str, str], netrc: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pystematic.record._wandb import choose_mode

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".netrc").write_text(netrc)
    (tmp_path / ".netrc").chmod(0o600)

    assert choose_mode() == mode


def test_wandb_of_our_own_ends_its_service_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # WANDB_SERVICE is of a service that this process has started for other tests: a child would join that one.
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC", "WANDB_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    program = """
import os, sys, threading, pystematic, psutil
from pystematic.record import _backend_thread
_backend_thread.CLOSE_LIMIT_S = _backend_thread.START_LIMIT_S = 60  # a machine under load takes longer
with pystematic.Recorder("output/train/run") as recorder:
    recorder.add_backend("wandb")
    recorder.scalar("loss", 0.5, 3)
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(30)
children = [child.name() for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
print(sorted(children), sorted(thread.name for thread in threading.enumerate()))
"""
    done = run_python("-c", program, cwd=tmp_path, env={"HOME": str(tmp_path)})

    assert (done.stdout, done.stderr) == ("[] ['MainThread']\n", "")
    assert [row["loss"] for row in wandb_log.read_history(tmp_path / "output/train/run")] == [0.5]
