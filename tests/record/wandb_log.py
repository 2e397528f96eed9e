"""Reads what W&B writes offline: a log of the form of LevelDB's, with its own messages inside.

Its package has no public reader; the form: https://github.com/google/leveldb/blob/main/doc/log_format.md, after a
header of seven bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_SIZE = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_messages(path: Path) -> Iterator[bytes]:
    """Yield the messages of a ``.wandb`` file; one that is not finished yet ends it."""
    data = path.read_bytes()
    position, parts = 7, b""
    while position + 7 <= len(data):
        if BLOCK_SIZE - position % BLOCK_SIZE < 7:
            position += BLOCK_SIZE - position % BLOCK_SIZE
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        chunk = data[position + 7 : position + 7 + length]
        if len(chunk) < length or kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        position += 7 + length
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            yield parts


def _records(folder: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for message in read_messages(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            yield record


def has_ended(folder: Path) -> bool:
    """Tell whether the offline run below ``folder`` is written to its end."""
    return any(record.WhichOneof("record_type") == "exit" for record in _records(folder))


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that were logged in an offline run below ``folder``, in their order."""
    rows: list[dict[str, Any]] = []
    for record in _records(folder):
        if record.WhichOneof("record_type") == "history":
            rows.append({})
            for item in record.history.item:
                *outer, key = list(item.nested_key) or [item.key]
                place = rows[-1]
                for name in outer:
                    place = place.setdefault(name, {})
                place[key] = json.loads(item.value_json)
    return rows


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of an offline run below ``folder``."""
    config: dict[str, Any] = {}
    for record in _records(folder):
        kind = record.WhichOneof("record_type")
        updates = record.run.config.update if kind == "run" else record.config.update if kind == "config" else ()
        config.update({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates})
    return config
