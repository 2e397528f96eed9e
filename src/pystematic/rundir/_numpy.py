"""NumPy scalars and arrays as JSON-like values: the one place of this package that imports NumPy."""

from __future__ import annotations

import binascii

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def encode_numpy(value: object) -> tuple[str, Any] | None:
    """Return the mark and its value; None for what is no scalar or array, or does not come back from its bytes.

    The latter are Python objects, records, types of other packages, and subclasses such as masked arrays.
    """
    is_array = type(value) is np.ndarray
    if not is_array and not (isinstance(value, np.generic) and type(value).__module__ == "numpy"):
        return None
    array = np.asarray(value)
    dtype = array.dtype
    if dtype.hasobject or dtype.names or not dtype.itemsize or np.dtype(dtype.str) != dtype:
        return None
    data = binascii.b2a_base64(np.ascontiguousarray(array).tobytes(), newline=False).decode("ascii")
    parts = {"dtype": dtype.str, "shape": list(array.shape), "base64": data}
    if dtype.kind in "SU" and not is_array and array[()] != value:
        return None  # a NUL at the end of a text counts in a scalar only
    return ("numpy.array" if is_array else "numpy.scalar"), parts


def decode_numpy(kind: str, parts: dict[str, Any]) -> Any:
    """Return the array or scalar that `encode_numpy` was given."""
    dtype = np.dtype(str(parts["dtype"]))
    if dtype.hasobject:
        raise ValueError("arrays of objects are not read")
    array = np.frombuffer(binascii.a2b_base64(parts["base64"]), dtype=dtype).reshape(parts["shape"]).copy()
    return array if kind == "numpy.array" else array[()]
