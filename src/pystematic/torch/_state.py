"""The state of what a context holds: taken out of objects into plain values and tensors, and put back into them.

Knows neither files nor runs, and works without torch. What comes out can be written by ``torch.save`` and read with
``weights_only=True``, or, where torch is not loaded, by `pystematic.rundir.encode`.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterator, Mapping

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SCALARS = (type(None), bool, int, float, complex, str)
_PLAIN = (*_SCALARS, bytes)
# Marks an array inside of a state, where torch's file format has only tensors.
_ARRAY = "$array"
# Marks a number of numpy, as its type and the number of Python: programs ask such for its shape.
_NUMBER = "$number"
_DEEPEST = 90  # levels of lists and dicts; the codec of files writes a hundred


def walk(obj: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield ``obj``, or what stands in it if it is a list, tuple or dict, each with the path that leads to it."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield from walk(value, f"{path}.{key}")
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(obj):
            yield from walk(value, f"{path}.{index}")
    else:
        yield path, obj


def has_state(obj: Any) -> bool:
    """Tell whether ``obj`` is a value that can be saved, or an object that gives and takes its state."""
    if isinstance(obj, (list, tuple)):
        return all(has_state(item) for item in obj)
    if isinstance(obj, dict):
        return all(has_state(item) for item in obj.values())
    if isinstance(obj, set):
        return all(isinstance(item, _PLAIN) for item in obj)
    return isinstance(obj, _PLAIN) or _is_tensor(obj) or _is_numpy(obj) or _is_stateful(obj) or _is_estimator(obj)


def take_state(obj: Any) -> Any:
    """Return the state of ``obj``. Tensors in it share their memory with the object, as in torch's state_dict."""
    if _is_stateful(obj):
        return _pack(obj.state_dict())
    if _is_tensor(obj):
        return obj.detach()
    if _is_numpy(obj):
        return _pack_array(obj) if obj.ndim else obj.item()
    if _is_estimator(obj):
        return _pack(dict(vars(obj)))
    if isinstance(obj, dict):
        return {key: _take_item(value) for key, value in obj.items()}
    if isinstance(obj, tuple):
        return tuple(_take_item(item) for item in obj)
    if isinstance(obj, list):
        return [_take_item(item) for item in obj]
    return obj


def _take_item(obj: Any) -> Any:
    return _pack_numpy(obj) if _is_numpy(obj) else take_state(obj)


def _pack_numpy(obj: Any) -> dict[str, Any]:
    """Return an array or a number of numpy, which stands in something else, with its mark."""
    if obj.ndim:
        return {_ARRAY: _pack_array(obj)}
    return {_NUMBER: [obj.dtype.str, obj.item()]}


def _pack_array(array: Any) -> Any:
    torch = sys.modules.get("torch")
    # numpy's own pickles need code that weights_only=True does not run.
    return array.copy() if torch is None else torch.from_numpy(array.copy())


def _pack(state: Any) -> Any:
    """Return what an object gave as its state, with each array in it marked."""
    if _is_numpy(state):
        return _pack_numpy(state)
    if type(state) is dict:
        return {key: _pack(value) for key, value in state.items()}
    if type(state) is list:
        return [_pack(item) for item in state]
    return tuple(map(_pack, state)) if type(state) is tuple else state


def _unpack(state: Any) -> Any:
    if type(state) is dict:
        if state.keys() == {_ARRAY}:
            return _to_array(state[_ARRAY])
        if state.keys() == {_NUMBER}:
            return _to_number(*state[_NUMBER])
        return {key: _unpack(value) for key, value in state.items()}
    if type(state) is list:
        return [_unpack(item) for item in state]
    return tuple(map(_unpack, state)) if type(state) is tuple else state


def _to_array(value: Any) -> Any:
    return value.detach().cpu().numpy().copy() if _is_tensor(value) else value.copy()


def _to_number(kind: str, number: float) -> Any:
    import numpy  # where the number comes from

    return numpy.dtype(kind).type(number)


def find_foreign(state: Any, path: str = "", depth: int = 0) -> str | None:
    """Return what in a state could be read back only by code in the file, None if nothing could."""
    kind = type(state)
    if kind in (*_SCALARS, bytes) or _is_tensor(state):
        return None
    if depth > _DEEPEST:
        return f"more than {_DEEPEST} levels at {path[:60]}"
    if kind in (dict, collections.OrderedDict, collections.Counter):
        pairs = [*((f"{path}[{key!r}]", value) for key, value in state.items()), *((path, key) for key in state)]
    elif kind in (list, tuple, set) or (kind.__module__ == "torch" and kind.__name__ == "Size"):
        pairs = [(f"{path}[{index}]", value) for index, value in enumerate(state)]
    elif (kind.__module__ == "torch" and kind.__name__ in ("dtype", "device")) or (
        "torch" not in sys.modules and _is_numpy(state)
    ):
        return None
    else:
        return f"{path or 'it'} is a {kind.__module__}.{kind.__qualname__}"
    return next((found for where, value in pairs if (found := find_foreign(value, where, depth + 1))), None)


def put_state(obj: Any, state: Any, path: str) -> Any:
    """Put ``state`` into ``obj``, and return ``obj``, or for plain values the value that takes its place.

    Raises:
        ExperimentError: it does not fit. The text says where.
    """
    if state is None and not isinstance(obj, (*_SCALARS, list, tuple, dict)):
        return obj  # pystematic-torch 1.x wrote None for whatever it could not save
    if _is_stateful(obj):
        try:
            obj.load_state_dict(_unpack(state))
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ExperimentError(f"{path}: {type(obj).__name__} refuses the state: {error}") from error
        return obj
    if _is_tensor(obj):
        return _put_tensor(obj, state, path)
    if _is_numpy(obj):
        return _put_array(obj, _unpack(state), path)
    if _is_estimator(obj):
        if not isinstance(state, Mapping):
            raise ExperimentError(
                f"{path}: the attributes of a {type(obj).__name__} were expected, not {_sketch(state)}"
            )
        vars(obj).update(_unpack(dict(state)))
        return obj
    if not _holds_objects(obj):
        if not (isinstance(state, (*_PLAIN, set, list, tuple, dict)) or _is_tensor(state) or _is_numpy(state)):
            raise ExperimentError(f"{path}: a value was expected, not {type(state).__name__}")
        return _copied(_unpack(state))  # the caller may go on using his lists and dicts
    if isinstance(obj, dict):
        if not isinstance(state, Mapping) or state.keys() != obj.keys():
            raise ExperimentError(f"{path}: a dict with the keys {list(obj)} was expected, not {_sketch(state)}")
        return type(obj)((key, put_state(value, state[key], f"{path}.{key}")) for key, value in obj.items())
    if not isinstance(state, (list, tuple)) or len(state) != len(obj):
        raise ExperimentError(f"{path}: a list of {len(obj)} was expected, not {_sketch(state)}")
    items = [put_state(item, state[index], f"{path}.{index}") for index, item in enumerate(obj)]
    return obj._make(items) if hasattr(obj, "_make") else type(obj)(items)


def _copied(state: Any) -> Any:
    if type(state) is dict:
        return {key: _copied(value) for key, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(map(_copied, state))
    return set(state) if type(state) is set else state


def _is_tensor(obj: Any) -> bool:
    torch = sys.modules.get("torch")  # a tensor exists only if torch is loaded
    return torch is not None and isinstance(obj, torch.Tensor)


def _is_stateful(obj: Any) -> bool:
    return (
        callable(getattr(obj, "state_dict", None))
        and callable(getattr(obj, "load_state_dict", None))
        and not isinstance(obj, type)
    )


def _is_numpy(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")  # an array exists only if numpy is loaded
    return numpy is not None and isinstance(obj, (numpy.ndarray, numpy.generic)) and obj.dtype.kind in "biufc"


def _is_estimator(obj: Any) -> bool:
    """Tell whether ``obj`` is made like those of scikit-learn, and all that it has learnt is plain."""
    if isinstance(obj, type) or not (
        callable(getattr(obj, "fit", None)) and callable(getattr(obj, "get_params", None))
    ):
        return False
    return hasattr(obj, "__dict__") and find_foreign(_pack(dict(vars(obj)))) is None


def _holds_objects(obj: Any) -> bool:
    """Tell whether something in ``obj`` takes its state in place, so that its shape must be that of the state."""
    if isinstance(obj, dict):
        return any(_holds_objects(item) for item in obj.values())
    if isinstance(obj, (list, tuple)):
        return any(_holds_objects(item) for item in obj)
    return _is_tensor(obj) or _is_stateful(obj) or _is_estimator(obj)


def _put_tensor(tensor: Any, state: Any, path: str) -> Any:
    if not _is_tensor(state):
        raise ExperimentError(f"{path}: a tensor was expected, not {_sketch(state)}")
    if not (tensor.is_leaf and tensor.requires_grad):
        return state.detach().to(tensor.device, copy=True)
    if state.shape != tensor.shape:
        raise ExperimentError(f"{path}: a tensor of shape {tuple(tensor.shape)} was expected, not {tuple(state.shape)}")
    import torch  # there is a tensor

    with torch.no_grad():
        tensor.copy_(state)
    return tensor


def _put_array(array: Any, state: Any, path: str) -> Any:
    if _is_tensor(state) or (_is_numpy(state) and state.ndim):
        return _to_array(state)
    if isinstance(state, (bool, int, float, complex)):
        return array.dtype.type(state)
    raise ExperimentError(f"{path}: a number or an array was expected, not {_sketch(state)}")


def _sketch(state: Any) -> str:
    if isinstance(state, Mapping):
        return f"a dict with the keys {list(state)[:10]}"
    if isinstance(state, (list, tuple)):
        return f"a {type(state).__name__} of {len(state)}"
    return f"a tensor of shape {tuple(state.shape)}" if _is_tensor(state) else type(state).__name__
