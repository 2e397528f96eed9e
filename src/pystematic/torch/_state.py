"""The state of what a context holds: taken out of objects into plain values and tensors, and put back into them.

Knows neither files nor runs. What comes out can be written by ``torch.save`` and read with ``weights_only=True``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch

from pystematic.errors import ExperimentError

_SCALARS = (type(None), bool, int, float, complex, str)
_PLAIN = (*_SCALARS, bytes, set)


def has_state(obj: Any) -> bool:
    """Tell whether ``obj`` is a value that can be saved, or an object that gives and takes its state."""
    if isinstance(obj, (list, tuple)):
        return all(has_state(item) for item in obj)
    if isinstance(obj, dict):
        return all(has_state(item) for item in obj.values())
    return isinstance(obj, (*_PLAIN, torch.Tensor)) or _is_numpy(obj) or _is_stateful(obj)


def take_state(obj: Any) -> Any:
    """Return the state of ``obj``. Tensors in it share their memory with the object, as in torch's state_dict."""
    if _is_stateful(obj):
        return obj.state_dict()
    if isinstance(obj, torch.Tensor):
        return obj.detach()
    if _is_numpy(obj):
        # numpy's own pickles need code that weights_only=True does not run.
        return torch.from_numpy(obj.copy()) if obj.ndim else obj.item()
    if isinstance(obj, dict):
        return {key: take_state(value) for key, value in obj.items()}
    if isinstance(obj, tuple):
        return tuple(take_state(item) for item in obj)
    if isinstance(obj, list):
        return [take_state(item) for item in obj]
    return obj


def put_state(obj: Any, state: Any, path: str) -> Any:
    """Put ``state`` into ``obj``, and return ``obj``, or for plain values the value that takes its place.

    Raises:
        ExperimentError: it does not fit. The text says where.
    """
    if state is None and not isinstance(obj, (*_SCALARS, list, tuple, dict)):
        return obj  # pystematic-torch 1.x wrote None for whatever it could not save
    if _is_stateful(obj):
        try:
            obj.load_state_dict(state)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ExperimentError(f"{path}: {type(obj).__name__} refuses the state: {error}") from error
        return obj
    if isinstance(obj, torch.Tensor):
        return _put_tensor(obj, state, path)
    if _is_numpy(obj):
        return _put_array(obj, state, path)
    if not _holds_objects(obj):
        if not isinstance(state, (*_PLAIN, torch.Tensor, list, tuple, dict)):
            raise ExperimentError(f"{path}: a value was expected, not {type(state).__name__}")
        return take_state(state)  # a copy of the lists and dicts: the caller may go on using his
    if isinstance(obj, dict):
        if not isinstance(state, Mapping) or state.keys() != obj.keys():
            raise ExperimentError(f"{path}: a dict with the keys {list(obj)} was expected, not {_sketch(state)}")
        return type(obj)((key, put_state(value, state[key], f"{path}.{key}")) for key, value in obj.items())
    if not isinstance(state, (list, tuple)) or len(state) != len(obj):
        raise ExperimentError(f"{path}: a list of {len(obj)} was expected, not {_sketch(state)}")
    items = [put_state(item, state[index], f"{path}.{index}") for index, item in enumerate(obj)]
    return obj._make(items) if hasattr(obj, "_make") else type(obj)(items)


def _is_stateful(obj: Any) -> bool:
    return (
        callable(getattr(obj, "state_dict", None))
        and callable(getattr(obj, "load_state_dict", None))
        and not isinstance(obj, type)
    )


def _is_numpy(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")  # an array exists only if numpy is loaded
    return numpy is not None and isinstance(obj, (numpy.ndarray, numpy.generic)) and obj.dtype.kind in "biufc"


def _holds_objects(obj: Any) -> bool:
    """Tell whether something in ``obj`` takes its state in place, so that its shape must be that of the state."""
    if isinstance(obj, dict):
        return any(_holds_objects(item) for item in obj.values())
    if isinstance(obj, (list, tuple)):
        return any(_holds_objects(item) for item in obj)
    return isinstance(obj, torch.Tensor) or _is_numpy(obj) or _is_stateful(obj)


def _put_tensor(tensor: torch.Tensor, state: Any, path: str) -> torch.Tensor:
    if not isinstance(state, torch.Tensor):
        raise ExperimentError(f"{path}: a tensor was expected, not {_sketch(state)}")
    if not (tensor.is_leaf and tensor.requires_grad):
        return state.detach().to(tensor.device, copy=True)
    if state.shape != tensor.shape:
        raise ExperimentError(f"{path}: a tensor of shape {tuple(tensor.shape)} was expected, not {tuple(state.shape)}")
    with torch.no_grad():
        tensor.copy_(state)
    return tensor


def _put_array(array: Any, state: Any, path: str) -> Any:
    if isinstance(state, torch.Tensor):
        return state.detach().cpu().numpy().copy()
    if isinstance(state, (bool, int, float, complex)):
        return array.dtype.type(state)
    raise ExperimentError(f"{path}: a number or an array was expected, not {_sketch(state)}")


def _sketch(state: Any) -> str:
    if isinstance(state, Mapping):
        return f"a dict with the keys {list(state)[:10]}"
    if isinstance(state, (list, tuple)):
        return f"a {type(state).__name__} of {len(state)}"
    return f"a tensor of shape {tuple(state.shape)}" if isinstance(state, torch.Tensor) else type(state).__name__
