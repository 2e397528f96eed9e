"""NumPy scalars and arrays as JSON-like values: the one place of this package that imports NumPy."""

from __future__ import annotations

import binascii

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def encode_numpy(value: object) -> tuple[str, Any] | None:
    """Return the mark and its value, or None for what is no scalar or array, or holds Python objects."""
    if not isinstance(value, np.generic | np.ndarray) or type(value) not in (np.ndarray, type(value[()])):
        return None
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.names:
        return None
    data = binascii.b2a_base64(np.ascontiguousarray(array).tobytes(), newline=False).decode("ascii")
    parts = {"dtype": array.dtype.str, "shape": list(array.shape), "base64": data}
    return ("numpy.array" if isinstance(value, np.ndarray) else "numpy.scalar"), parts


def decode_numpy(kind: str, parts: dict[str, Any]) -> Any:
    """Return the array or scalar that `encode_numpy` was given."""
    dtype = np.dtype(str(parts["dtype"]))
    if dtype.hasobject:
        raise ValueError("arrays of objects are not read")
    array = np.frombuffer(binascii.a2b_base64(parts["base64"]), dtype=dtype).reshape(parts["shape"]).copy()
    return array if kind == "numpy.array" else array[()]
