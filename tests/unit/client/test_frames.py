"""What may be given to either client as a frame, and how it is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import focusd_client
import numpy as np
import pytest
import tifffile

from focusd.api.schemas import FrameQuery
from focusd.client.frames import Conditions, FrameLike, read_conditions, read_frame

IMAGE = np.arange(64 * 65, dtype=np.uint16).reshape(64, 65)
Content = tuple[memoryview, str, dict[str, str]]
Read = Callable[[Any, tuple[int, int] | None, str], Content]


def of_package(frame: FrameLike, shape: tuple[int, int] | None, dtype: str) -> Content:
    """What ``focusd.client`` makes of a frame."""
    content = read_frame(frame, shape, dtype)
    return content.data, content.content_type, content.said


both = pytest.mark.parametrize("read", [of_package, focusd_client._content])
said_by_both = pytest.mark.parametrize("said", [read_conditions, focusd_client._said])


@both
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
def test_arrays_of_any_layout_and_byte_order_are_sent_alike(pixels: FrameLike, read: Read) -> None:
    """Row by row, little-endian."""
    data, _, said = read(pixels, None, "uint8")

    assert bytes(data) == IMAGE.astype("<u2").tobytes()
    assert said == {"shape": "64,65", "dtype": "uint16"}


@both
def test_an_array_that_lies_right_is_not_copied(read: Read) -> None:
    """A frame may have hundreds of megabytes."""
    image = IMAGE.astype(np.uint8)
    data, _, said = read(image, None, "uint8")
    image[0, 0] = 77

    assert data[0] == 77
    assert said == {"shape": "64,65", "dtype": "uint8"}


@both
def test_bare_pixels_come_with_their_shape(read: Read) -> None:
    """Bytes from a vendor's own call."""
    _, content_type, said = read(IMAGE.tobytes(), (64, 65), "uint16")

    assert content_type == "application/octet-stream"
    assert said == {"shape": "64,65", "dtype": "uint16"}


@both
def test_files_and_their_bytes_are_sent_as_they_are(tmp_path: Path, read: Read) -> None:
    """By content, whatever the file is called."""
    path = tmp_path / "tile.dat"
    tifffile.imwrite(path, IMAGE)
    contents = [read(frame, None, "uint8") for frame in (path, str(path), path.read_bytes())]

    assert {content_type for _, content_type, _ in contents} == {"image/tiff"}
    assert {bytes(data) for data, _, _ in contents} == {path.read_bytes()}
    assert contents[0][2] == {}


@both
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
    frame: object, shape: tuple[int, int] | None, read: Read
) -> None:
    """And is a ``ValueError`` for those who look for one."""
    with pytest.raises(ValueError, match=r"frame|image|pixels") as caught:
        read(frame, shape, "uint8")

    assert type(caught.value).__name__ == "FrameError"


@said_by_both
def test_conditions_are_said_in_numbers_that_everybody_reads(said: Callable[[Any], dict[str, str]]) -> None:
    """Also numpy's; what is ``None`` is not known."""
    conditions = {"x_mm": np.float32(0.5), "label": "block 1", "tilt_deg": None, "y_mm": 2}

    assert said(conditions) == {"x_mm": "0.5", "label": "block 1", "y_mm": "2.0"}


def test_both_clients_know_all_that_the_daemon_takes() -> None:
    """What the HTTP interface learns of frames the clients must."""
    known = set(FrameQuery.model_fields) - {"wait", "timeout_s", "shape", "dtype"}

    assert set(focusd_client.CONDITIONS) == set(Conditions.__annotations__) == known


@said_by_both
@pytest.mark.parametrize("conditions", [{"working_distance": 9.0}, {"x_mm": [1]}])
def test_misspelt_conditions_are_refused(
    conditions: dict[str, object], said: Callable[[Any], dict[str, str]]
) -> None:
    """A name or a value that focusd would not take is told at once."""
    with pytest.raises(ValueError, match=next(iter(conditions))):
        said(conditions)
