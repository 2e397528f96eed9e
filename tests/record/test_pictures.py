"""Images and figures: what lies in the folder is what was there at the call, whatever happens to it later."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import Recorder, rundir
from pystematic.record._pictures import encode_png
from tests.record.builders import messages, on_device, recorded


@pytest.fixture(scope="module", autouse=True)
def _libraries() -> None:
    """Import what changes the process at its import before the look for leaks."""
    importlib.import_module("PIL.Image")
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    importlib.import_module("matplotlib.pyplot")
    importlib.import_module("plotly.graph_objects")


def pixels_in(item: rundir.Item) -> Any:
    from PIL import Image

    assert item.file is not None
    with Image.open(item.file) as image:
        assert image.size == (item.data.get("width", image.width), item.data.get("height", image.height))
        return np.asarray(image)


def image_of(image: Any) -> Any:
    [item] = recorded(lambda recorder: recorder.image("a/b", image, step=3))
    assert item.kind == "image"
    assert item.file is not None
    assert item.file.parts[-2:] == ("images", "a.b_3.png")
    return pixels_in(item)


def same(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and (a == b).all())


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 4]), st.integers(0, 2**32 - 1))
def test_a_png_holds_every_pixel(height: int, width: int, channels: int, seed: int) -> None:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    path = Path("x.png")
    path.write_bytes(encode_png(pixels))
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert same(np.asarray(image).reshape(pixels.shape), pixels)


random = np.random.default_rng(1)
COLOURS = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)


def test_an_array_with_channels_last() -> None:
    assert same(image_of(COLOURS), COLOURS)


def test_an_array_with_channels_first() -> None:
    assert same(image_of(np.moveaxis(COLOURS, 2, 0)), COLOURS)


def test_an_array_without_channels() -> None:
    assert same(image_of(COLOURS[:, :, 0]), COLOURS[:, :, 0])


def test_floats_are_0_to_1_and_nan_is_black() -> None:
    image = np.array([[0.0, 0.5, 1.0], [-1.0, 2.0, np.nan], [np.inf, -np.inf, 0.25]])

    assert image_of(image).tolist() == [[0, 128, 255], [0, 255, 0], [255, 0, 64]]


def test_integers_and_bools_of_other_types() -> None:
    assert image_of(np.array([[0, 300], [-5, 7]])).tolist() == [[0, 255], [0, 7]]
    assert image_of(np.array([[True, False]])).tolist() == [[255, 0]]


def test_a_tensor_has_its_channels_first_where_both_ends_could_be_channels() -> None:
    import torch

    array = random.integers(0, 256, (3, 8, 3), dtype=np.uint8)

    assert same(image_of(array), array)
    assert same(image_of(torch.from_numpy(array)), np.moveaxis(array, 0, 2))


def test_tensors_of_every_kind() -> None:
    import torch

    tensor = torch.zeros(3, 4, 5, requires_grad=True)
    assert image_of(tensor).shape == (4, 5, 3)
    assert image_of(tensor.to(torch.bfloat16)).shape == (4, 5, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV", "F", "I"])
def test_images_of_pil(mode: str) -> None:
    from PIL import Image

    assert image_of(Image.new(mode, (6, 5))).shape[:2] == (5, 6)


def test_an_image_is_that_of_the_call() -> None:
    import torch
    from PIL import Image

    array, tensor, image = np.zeros((4, 5)), on_device(torch.zeros(4, 5)), Image.new("L", (5, 4))

    def record(recorder: Recorder) -> None:
        for one in (array, tensor, image):
            recorder.image("a", one)
        array[:], tensor[:] = 1.0, 1.0
        image.paste(255, (0, 0, 5, 4))

    assert [int(pixels_in(item).max()) for item in recorded(record)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("x.png", "TypeError: an image is one of PIL, an array or a tensor, got str"),
        (
            np.zeros((2, 3, 4, 5)),
            "ValueError: an image of the shape (2, 3, 4, 5): expected height x width, "
            "with 1 to 4 channels first or last",
        ),
        (
            np.zeros((0, 5)),
            "ValueError: an image of the shape (0, 5): expected height x width, with 1 to 4 channels first or last",
        ),
        (
            np.zeros((2, 2), dtype=complex),
            "TypeError: an image of the type complex128: expected integers from 0 to 255, or floats from 0 to 1",
        ),
    ],
    ids=["text", "four axes", "empty", "complex"],
)
def test_what_is_no_image_is_said(image: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    assert recorded(lambda recorder: recorder.image("a", image)) == []
    assert list(Path("output").rglob("*.png")) == []
    assert messages(caplog) == [
        f"image 'a' could not be recorded: {problem}. Further ones of this sort are told at the end; the run goes on."
    ]


# -- figures -----------------------------------------------------------------------------------------------------


def make_figure(height: float = 1.0) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(2, 1.5), dpi=50)
    axes.bar([0], [height])
    axes.set_ylim(0, 1)
    return figure, axes


def test_a_figure_of_matplotlib_is_that_of_the_call_and_may_be_closed() -> None:
    import matplotlib.pyplot as plt

    def record(recorder: Recorder, *, disturb: bool) -> None:
        figure, axes = make_figure()
        recorder.figure("a", figure, step=2)
        if disturb:
            axes.bar([1], [0.5])
            axes.clear()
        plt.close(figure)

    [plain] = recorded(lambda recorder: record(recorder, disturb=False))
    undisturbed = pixels_in(plain)
    [item] = recorded(lambda recorder: record(recorder, disturb=True))

    assert item.file is not None
    assert item.file.parts[-2:] == ("figures", "a_2.png")
    assert item.data == {"library": "matplotlib"}
    assert same(pixels_in(item), undisturbed)
    assert undisturbed.shape[:2] == (75, 100)


def test_the_figure_stays_the_programs_and_no_window_is_opened() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure, _ = make_figure()
    canvas = figure.canvas
    numbers = plt.get_fignums()
    recorded(lambda recorder: recorder.figure("a", figure))

    assert figure.canvas is canvas
    assert plt.get_fignums() == numbers != before
    plt.close(figure)


def test_a_figure_that_cannot_be_pickled_is_rendered_at_once() -> None:
    import matplotlib.pyplot as plt

    figure, axes = make_figure()
    axes.xaxis.set_major_formatter(lambda x, position: "label")
    [item] = recorded(lambda recorder: recorder.figure("a", figure))
    plt.close(figure)

    assert pixels_in(item).shape[:2] == (75, 100)


def test_axes_and_pyplot_stand_for_their_figure() -> None:
    import matplotlib.pyplot as plt

    figure, axes = make_figure()

    def record(recorder: Recorder) -> None:
        for one in (figure, axes, plt):
            recorder.figure("a", one)

    first, *others = [pixels_in(item) for item in recorded(record)]
    plt.close(figure)
    assert len(others) == 2
    assert all(same(first, other) for other in others)


def test_a_figure_of_plotly_is_stored_as_its_json() -> None:
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))

    def record(recorder: Recorder) -> None:
        recorder.figure("map", figure)
        figure.data[0].y = [0, 0]

    [item] = recorded(record)
    assert item.file is not None
    assert item.file.name == "map_0.plotly.json"
    assert item.data["library"] == "plotly"
    assert go.Figure(json.loads(item.file.read_text())).data[0].y == (3, 4)


def test_what_is_no_figure_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert recorded(lambda recorder: recorder.figure("a", 5)) == []
    assert messages(caplog) == [
        "figure 'a' could not be recorded: TypeError: a figure is one of matplotlib or plotly, got int. "
        "Further ones of this sort are told at the end; the run goes on."
    ]
