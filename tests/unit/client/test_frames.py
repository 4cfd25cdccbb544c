"""What may be given as a frame, and how it is sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from focusd.client.failures import FrameError
from focusd.client.frames import FrameLike, read_conditions, read_frame

IMAGE = np.arange(64 * 65, dtype=np.uint16).reshape(64, 65)


@pytest.mark.parametrize(
    "pixels",
    [
        IMAGE,
        np.asfortranarray(IMAGE),
        np.repeat(IMAGE, 2, axis=1)[:, ::2],
        IMAGE.astype(">u2"),
        IMAGE.astype("<u2"),
        np.asfortranarray(IMAGE.astype(">u2")),
        IMAGE.data,
    ],
)
def test_arrays_of_any_layout_and_byte_order_are_sent_alike(pixels: FrameLike) -> None:
    """Row by row, little-endian."""
    content = read_frame(pixels, None, "uint8")

    assert bytes(content.data) == IMAGE.astype("<u2").tobytes()
    assert content.said == {"shape": "64,65", "dtype": "uint16"}


def test_an_array_that_lies_right_is_not_copied() -> None:
    """A frame may have hundreds of megabytes."""
    image = IMAGE.astype(np.uint8)
    content = read_frame(image, None, "uint8")
    image[0, 0] = 77

    assert content.data[0] == 77
    assert content.said == {"shape": "64,65", "dtype": "uint8"}


def test_bare_pixels_come_with_their_shape() -> None:
    """Bytes from a vendor's own call."""
    content = read_frame(IMAGE.tobytes(), (64, 65), "uint16")

    assert content.content_type == "application/octet-stream"
    assert content.said == {"shape": "64,65", "dtype": "uint16"}


def test_files_and_their_bytes_are_sent_as_they_are(tmp_path: Path) -> None:
    """By content, whatever the file is called."""
    path = tmp_path / "tile.dat"
    tifffile.imwrite(path, IMAGE)
    contents = [read_frame(frame, None, "uint8") for frame in (path, str(path), path.read_bytes())]

    assert {content.content_type for content in contents} == {"image/tiff"}
    assert {bytes(content.data) for content in contents} == {path.read_bytes()}
    assert contents[0].said == {}


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        (IMAGE.astype(float), None),
        (IMAGE.astype(np.int16), None),
        (IMAGE[None], None),
        (IMAGE[0], None),
        (b"hello, world", None),
        (b"", None),
        (bytes(10), (3, 4)),
        (bytes(12), (-3, -4)),
        (bytes(0), (0, 0)),
        ([[1, 2], [3, 4]], None),
        (None, None),
    ],
)
def test_what_is_no_frame_is_refused_before_anything_is_sent(
    frame: object, shape: tuple[int, int] | None
) -> None:
    """And is a ``ValueError`` for those who look for one."""
    with pytest.raises(FrameError) as caught:
        read_frame(frame, shape, "uint8")  # type: ignore[arg-type]  # that is the test

    assert isinstance(caught.value, ValueError)


def test_conditions_are_said_in_numbers_that_everybody_reads() -> None:
    """Also numpy's; what is ``None`` is not known."""
    said = read_conditions({"x_mm": float(np.float64(0.1)), "label": "blk 1", "tilt_deg": None, "y_mm": 2})
    from_numpy = read_conditions({"x_mm": np.float32(0.5)})  # type: ignore[typeddict-item]  # as scripts do

    assert said == {"x_mm": "0.1", "label": "blk 1", "y_mm": "2.0"}
    assert from_numpy == {"x_mm": "0.5"}


@pytest.mark.parametrize("conditions", [{"working_distance": 9.0}, {"x_mm": [1]}])
def test_misspelt_conditions_are_refused(conditions: dict[str, object]) -> None:
    """A name or a value that focusd would not take is told at once."""
    with pytest.raises(FrameError):
        read_conditions(conditions)  # type: ignore[arg-type]  # that is the test
