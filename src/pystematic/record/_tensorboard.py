"""TensorBoard: event files, by the writer and the messages of its own package; neither TensorFlow nor torch."""

from __future__ import annotations

import os
import socket
import time

from pystematic import rundir

from ._backend import Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._backend import RunFacts, ScalarBatch

# Events are compressed by no one, so what waits for a full disk is about as large in memory.
PENDING_LIMIT_BYTES = 32 << 20


class TensorBoardBackend(Backend):
    """Writes an event file into ``tensorboard/`` of the run directory: ``tensorboard --logdir OUTPUT_DIR``.

    TensorBoard keeps a value as a float of 32 bits, and a step as an integer.
    """

    name = "tensorboard"

    def __init__(self) -> None:
        self.dropped = 0
        self._pending = bytearray()
        self._pending_count = 0

    def start(self, run: RunFacts) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event_class = event_pb2.Event
        self._summary = summary_pb2
        self._tensor = tensor_pb2
        self._shape = tensor_shape_pb2
        self._types = types_pb2
        folder = rundir.RunDir(run.folder).tensorboard_dir
        os.makedirs(folder, exist_ok=True)
        # The form of TensorBoard's own names; its readers take files in the order of them.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{id(self)}"
        self._file = open(folder / name, "ab", buffering=0)
        self._records = RecordWriter(_Buffer(self._pending))
        self._write_event(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))
        if run.params:
            self._write_text("parameters", 0, time.time(), _markdown(["name", "value"], list(run.params.items())))

    def _write_event(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def write(self, batch: ScalarBatch) -> None:
        if len(self._pending) > PENDING_LIMIT_BYTES:
            self.dropped += len(batch.tags)
            return
        event, tags = None, set[str]()
        for tag, step, now, value in zip(batch.tags, batch.steps, batch.times, batch.values, strict=True):
            # One event for the tags of a step, which costs little more than one scalar.
            if event is None or event.step != int(step) or tag in tags:
                if event is not None:
                    self._write_event(event)
                event, tags = self._event_class(wall_time=now, step=int(step)), set()
            tags.add(tag)
            event.summary.value.add(tag=_text(tag), simple_value=_to_float32(value))
        if event is not None:
            self._write_event(event)
        self._pending_count += len(batch.tags)

    def write_item(self, item: rundir.Item) -> None:
        if item.kind in ("image", "figure"):
            self._write_picture(item)
        elif item.kind == "histogram":
            self._write_histogram(item)
        elif item.kind == "text":
            text = item.data.get("text")
            if text is None and item.file is not None:
                text = item.file.read_text("utf-8")
            self._write_text(item.tag, item.step, item.time, str(text))
        elif item.kind == "table":
            columns, cells = rundir.read_table(item)
            self._write_text(item.tag, item.step, item.time, _markdown(columns, cells))
        elif item.kind == "params":
            rows = list(item.data["params"].items())
            self._write_text("parameters", item.step, item.time, _markdown(["name", "value"], rows))
        else:
            rows = list(item.data.items())
            self._write_text(f"{item.kind}/{item.tag}", item.step, item.time, _markdown(["field", "value"], rows))

    def _write_picture(self, item: rundir.Item) -> None:
        file = item.file
        if file is not None and "png" in item.data:
            file = file.with_name(str(item.data["png"]))
        if file is None or file.suffix != ".png":
            return
        png = file.read_bytes()
        width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
        image = self._summary.Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self._write_value(item.step, item.time, tag=_text(item.tag), image=image)

    def _write_histogram(self, item: rundir.Item) -> None:
        data = item.data
        count = data["count"]
        if not count:
            return
        histogram = self._summary.HistogramProto(
            min=data["min"],
            max=data["max"],
            num=count,
            sum=data["mean"] * count,
            sum_squares=(data["std"] ** 2 + data["mean"] ** 2) * count,
            bucket_limit=data["edges"][1:] or data["edges"],
            bucket=data["counts"],
        )
        self._write_value(item.step, item.time, tag=_text(item.tag), histo=histogram)

    def _write_text(self, tag: str, step: int | float, now: float, text: str) -> None:
        tensor = self._tensor.TensorProto(
            dtype=self._types.DT_STRING,
            string_val=[text.encode("utf-8", "backslashreplace")],
            tensor_shape=self._shape.TensorShapeProto(dim=[self._shape.TensorShapeProto.Dim(size=1)]),
        )
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        metadata = self._summary.SummaryMetadata(plugin_data=plugin)
        self._write_value(step, now, tag=_text(tag), metadata=metadata, tensor=tensor)

    def _write_value(self, step: int | float, now: float, **fields: Any) -> None:
        summary = self._summary.Summary(value=[self._summary.Summary.Value(**fields)])
        self._write_event(self._event_class(wall_time=now, step=int(step), summary=summary))

    def flush(self) -> None:
        while self._pending:
            written = self._file.write(self._pending) or 0
            del self._pending[:written]
        self._pending_count = 0

    def close(self) -> None:
        self.dropped += self._pending_count
        self._file.close()


class _Buffer:
    """What `RecordWriter` takes for a file."""

    def __init__(self, pending: bytearray) -> None:
        self._pending = pending

    def write(self, data: bytes) -> None:
        self._pending += data


def _text(tag: str) -> str:
    return tag if rundir.is_unicode(tag) else rundir.shown_tag(tag)


def _to_float32(value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    if abs(number) > 3.4028234e38:  # protobuf would refuse it
        return float("inf") if number > 0 else float("-inf")
    return number


def _markdown(columns: list[str], rows: list[Any]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(cell: object) -> str:
    return str(cell).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def make_backend() -> Backend:
    return TensorBoardBackend()
