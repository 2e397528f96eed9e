"""Pictures: images as PNG files, figures of matplotlib and plotly. Knows their libraries only by their objects."""

from __future__ import annotations

import struct
import zlib

from ._items import copy_of, read_array, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._items import Place

CHANNELS = (1, 2, 3, 4)


class Image:
    """An image of PIL, or an array or tensor: height and width, with up to four channels first or last.

    Integers are 0 to 255, floats 0 to 1; what lies outside is cut off, NaN is black.
    """

    kind = "image"

    def __init__(self, image: Any) -> None:
        if hasattr(image, "save") and hasattr(image, "mode"):  # of PIL, which may still have to read its file
            self._image = image.copy()
            self.size_bytes = 4 * self._image.width * self._image.height
            return
        shape = getattr(image, "shape", None)
        if shape is None or not hasattr(image, "dtype"):
            raise TypeError(f"an image is one of PIL, an array or a tensor, got {type(image).__name__}")
        _find_channels(tuple(shape), first=hasattr(image, "detach"))
        self._image = copy_of(image)
        self.size_bytes = size_of(self._image)

    def store(self, place: Place) -> dict[str, Any]:
        image = self._image
        if hasattr(image, "save") and hasattr(image, "mode"):
            width, height = image.size
            place.write(self.kind, ".png", _encode_pil(image))
        else:
            pixels = _read_pixels(image)
            height, width = pixels.shape[:2]
            place.write(self.kind, ".png", encode_png(pixels))
        return {"width": width, "height": height}


def _encode_pil(image: Any) -> bytes:
    import io

    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGBA" if "A" in image.mode or "a" in image.mode else "RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _find_channels(shape: tuple[int, ...], *, first: bool) -> int | None:
    """Return the axis of the channels, None when there is none.

    Both ends may have as many: then torch has them first, all others last (``first``).
    """
    if len(shape) == 2 and all(shape):
        return None
    axes = [axis for axis in ((0, 2) if first else (2, 0)) if len(shape) == 3 and shape[axis] in CHANNELS]
    if not axes or not all(shape):
        raise ValueError(f"an image of the shape {shape}: expected height x width, with 1 to 4 channels first or last")
    return axes[0]


def _read_pixels(image: Any) -> Any:
    """Return height x width x channels of 8 bits."""
    import numpy as np

    is_tensor = hasattr(image, "detach")
    pixels = np.asarray(read_array(image))
    axis = _find_channels(pixels.shape, first=is_tensor)
    if axis is None:
        pixels = pixels[:, :, None]
    elif axis == 0:
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        return (pixels.clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if pixels.dtype.kind not in "iu":
        raise TypeError(f"an image of the type {pixels.dtype}: expected integers from 0 to 255, or floats from 0 to 1")
    return pixels.clip(0, 255).astype(np.uint8)


def encode_png(pixels: Any) -> bytes:
    """Return the PNG file of height x width x channels of 8 bits (https://www.w3.org/TR/png-3/).

    Here and not in PIL, so that an array can be recorded where only numpy is installed.
    """
    import numpy as np

    height, width, channels = pixels.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    # Filter "up": each row as its difference from the one above, which packs photos and plots alike well.
    lines = np.empty((height, 1 + width * channels), dtype=np.uint8)
    lines[:, 0] = 2
    lines[0, 1:] = rows[0]
    lines[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


class Figure:
    """A figure of matplotlib (PNG) or plotly (its JSON, and a PNG where kaleido is installed).

    Whatever happens to the figure later, closing included, does not matter.
    """

    kind = "figure"

    def __init__(self, figure: Any) -> None:
        self._png: bytes | None = None
        self._pickled: bytes | None = None
        self._plotly: tuple[type, dict[str, Any]] | None = None
        if hasattr(figure, "to_plotly_json") and hasattr(figure, "to_image"):
            self._plotly = (type(figure), figure.to_dict())
            self.size_bytes = 100_000
            return
        if not hasattr(figure, "canvas"):
            # Of pyplot itself the current one; of axes, or what a library such as seaborn puts around a figure.
            figure = figure.gcf() if hasattr(figure, "gcf") else getattr(figure, "figure", figure)
        if not (hasattr(figure, "canvas") and hasattr(figure, "savefig")):
            raise TypeError(f"a figure is one of matplotlib or plotly, got {type(figure).__name__}")
        try:
            self._pickled = _pickle_figure(figure)
        except Exception:  # something in it cannot be pickled, a lambda that formats ticks for one
            self._png = _render(figure)
        self.size_bytes = len(self._pickled or self._png or b"")

    def store(self, place: Place) -> dict[str, Any]:
        if self._plotly is not None:
            return self._store_plotly(place, *self._plotly)
        png = self._png
        if self._pickled is not None:
            import pickle

            png = _render(pickle.loads(self._pickled))
        place.write(self.kind, ".png", png or b"")
        return {"library": "matplotlib"}

    def _store_plotly(self, place: Place, cls: type, plain: dict[str, Any]) -> dict[str, Any]:
        figure = cls(plain)
        fields = {"library": "plotly"}
        png = _plotly_png(figure)
        if png is not None:
            fields["png"] = place.write(self.kind, ".png", png).name
        place.write(self.kind, ".plotly.json", figure.to_json().encode())
        return fields


def _render(figure: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _pickle_figure(figure: Any) -> bytes:
    """Return a pickle of a figure of matplotlib that does not bring a window with it where it is loaded."""
    import io
    import pickle

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if obj is not figure:
                return NotImplemented
            reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
            reduced[2].pop("_restore_to_pylab", None)
            return reduced

    buffer = io.BytesIO()
    Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(figure)
    return buffer.getvalue()


def _plotly_png(figure: Any) -> bytes | None:
    import importlib.util

    if importlib.util.find_spec("kaleido") is None:
        return None
    try:
        png: bytes = figure.to_image(format="png")
    except Exception:  # a browser is missing, for one; the figure itself is recorded all the same
        return None
    return png
