"""Files with the state of an experiment: written whole or not at all, read without executing code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pystematic.errors import ExperimentError
from pystematic.run import current
from pystematic.torch._world import is_master


def save_checkpoint(state_dict: Mapping[str, Any], id: Any) -> Path:
    """Write ``state_dict`` to ``checkpoint-ID.pt`` in the directory of the current run, on rank 0 only.

    The file appears under its name when it is complete and on the disk; an older one of the same id is replaced.

    Args:
        state_dict: tensors, numbers, text, and lists and dicts of them: what `load_checkpoint` can read again.
        id: what tells this checkpoint from others, such as the epoch.

    Returns:
        The path of the file, on every rank.

    Raises:
        ExperimentError: there is no current run.
        ValueError: the id cannot be part of a file name.
    """
    run = current()
    if run is None:
        raise ExperimentError("save_checkpoint() writes into the directory of a run, and none is active")
    name = f"checkpoint-{id}.pt"
    if Path(name).name != name or "\0" in name:
        raise ValueError(f"the id {id!r} of a checkpoint becomes part of a file name; it cannot lead to another folder")
    path = Path(run.output_dir) / name
    if is_master():
        _write_whole(state_dict, path)
    return path


def _write_whole(state_dict: Mapping[str, Any], path: Path) -> None:
    # In the same folder, as only there renaming is one step; hidden, as nobody is to take it for a checkpoint.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    import torch  # a program without it has checkpoints too

    try:
        with open(temporary, "xb") as file:
            torch.save(state_dict, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


# The mark of a checkpoint of a run, under the key "pystematic", and the version of what stands beside it.
FORMAT = 1


def is_run_state(state: Any) -> bool:
    """Tell whether this is the content of a file that ``context.save_checkpoint()`` wrote."""
    return isinstance(state, dict) and state.get("pystematic") == FORMAT and isinstance(state.get("state"), dict)


def load_checkpoint(checkpoint_file_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that `save_checkpoint` wrote, with all tensors on the CPU. Never executes code from the file.

    Of a checkpoint that ``context.save_checkpoint()`` wrote, what ``context.load_state_dict()`` takes is returned.

    Raises:
        FileNotFoundError: there is no such file.
        ExperimentError: it is damaged, or holds objects that only code from the file could make.
    """
    state = read_file(checkpoint_file_path)
    inner: dict[str, Any] = state["state"] if is_run_state(state) else state
    return inner


def read_file(checkpoint_file_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return all that a checkpoint file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ExperimentError: it is damaged, or holds objects that only code from the file could make.
    """
    path = os.fspath(checkpoint_file_path)
    import torch  # a program without it has checkpoints too

    try:
        with open(path, "rb") as file:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExperimentError(
            f"checkpoint {path!r} is damaged, or holds objects other than tensors, numbers, text, lists and dicts. "
            f"Such a file can execute code when it is read; if you trust whoever wrote it, read it with "
            f"torch.load({path!r}, weights_only=False). torch says: {str(error).strip().splitlines()[0]}"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ExperimentError(f"checkpoint {path!r} is damaged and cannot be read: {error}") from error
    return state
