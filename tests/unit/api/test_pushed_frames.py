"""Frames that clients send: judged, or refused with the reason before they cost anything."""

from __future__ import annotations

import asyncio

import cv2
import numpy as np
import pytest

from focusd.api.frame_body import IMAGES
from focusd.api.server import serve_http
from focusd.config import HttpSettings
from focusd.focus.laplacian import laplacian_variance
from focusd.framepool import FRAMES
from tests.unit.api.client import Client, Reply, connected, read_reply
from tests.unit.api.fake_supervisor import FakeSupervisor

RAW = {"Content-Type": "application/octet-stream"}
SHAPE = "?shape=96,128&dtype=uint8"
PIXELS = np.random.default_rng(5).integers(20, 230, (96, 128), dtype=np.uint8)


async def push(
    client: Client, query: str = SHAPE, content: bytes = PIXELS.tobytes(), **headers: str
) -> Reply:
    """Send a frame."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.send("POST", f"/v1/frames{query}", raw=content, headers=RAW | said)


async def test_bare_pixels_are_judged_and_kept(client: Client) -> None:
    """What the client says of the frame is part of the verdict."""
    query = f"{SHAPE}&working_distance_mm=9.25&pixel_size_nm=4&detector=12&x_mm=1.5&acquired_at=1800000000"
    reply = await push(client, query)

    verdict = reply.json["verdict"]
    assert (reply.status, reply.json["refocus"]) == (200, None)
    assert verdict["condition"] == "12-4nm-128x96-8bit"
    assert (verdict["working_distance_mm"], verdict["stage_position"]["x_mm"]) == (9.25, 1.5)
    assert verdict["acquired_at"] == 1800000000
    assert (await client.get(f"/v1/frames/{verdict['frame_id']}")).json == verdict


async def test_headers_say_the_same_as_the_query(client: Client) -> None:
    """Whichever is easier for the client."""
    by_query = await push(client, f"{SHAPE}&label=a%20b&dwell_time_us=0.5")
    by_header = await push(
        client,
        "",
        X_Frame_Shape="96,128",
        X_Frame_Dtype="uint8",
        X_Frame_Label="a b",
        X_Frame_Dwell_Time_Us="0.5",
    )
    wide = await push(client, "?shape=96,128&dtype=uint16", PIXELS.astype("<u2").tobytes())

    assert by_header.json["verdict"]["condition"] == by_query.json["verdict"]["condition"]
    assert wide.json["verdict"]["condition"].endswith("128x96-16bit")


async def test_either_byte_order_is_judged_alike(client: Client) -> None:
    """What a client says of its bytes is believed."""
    wide = PIXELS.astype(np.uint16) * 200
    said = [("uint16", "<u2"), (">u2", ">u2")]

    replies = [
        await push(client, f"?shape=96,128&dtype={name}", wide.astype(dtype).tobytes())
        for name, dtype in said
    ]

    little, big = (reply.json["verdict"]["laplacian_variance"] for reply in replies)
    assert little == big == laplacian_variance(wide)


async def test_the_memory_of_a_frame_is_used_again(client: Client) -> None:
    """Frames in a row do not cost the system new memory each, and each has its own verdict."""
    seen = set()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (512, 1024), dtype=np.uint8)
        reply = await push(client, "?shape=512,1024&dtype=uint8", pixels.tobytes())
        assert reply.json["verdict"]["laplacian_variance"] == laplacian_variance(pixels)
        seen.add(FRAMES.kept_bytes)

    assert len(seen) <= 2


@pytest.mark.parametrize("kind", IMAGES)
async def test_image_files_are_judged(client: Client, kind: str) -> None:
    """TIFF, PNG, JPEG and BMP, told by their content."""
    _, content = cv2.imencode(f".{kind.removeprefix('image/')}", PIXELS)

    reply = await push(client, "", content.tobytes(), Content_Type=kind)

    assert reply.status == 200, reply.json
    assert reply.json["verdict"]["condition"] == "detector-128x96-8bit"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "shape"),
        ("?shape=96&dtype=uint8", "shape"),
        ("?shape=96,12&dtype=uint8", "shape"),
        ("?shape=96,128", "dtype"),
        ("?shape=96,128&dtype=float32", "dtype"),
        ("?shape=96,129&dtype=uint8", "body"),
        (f"{SHAPE}&pixel_size_nm=0", "pixel_size_nm"),
        (f"{SHAPE}&working_distance_mm=nan", "working_distance_mm"),
        (f"{SHAPE}&wait=for_ever", "wait"),
        (f"{SHAPE}&working_distance=9", "working_distance"),
    ],
)
async def test_a_frame_that_is_not_what_it_says_is_refused(client: Client, query: str, field: str) -> None:
    """The problem names the field; the next frame is judged as if nothing had been."""
    reply = await push(client, query)

    assert (reply.status, reply.json["field"]) == (422, field)
    assert (await push(client)).status == 200


async def test_a_parameter_is_given_once(client: Client) -> None:
    """A header and a query that may contradict each other are not guessed about."""
    reply = await push(client, SHAPE, X_Frame_Shape="96,128")

    assert (reply.status, reply.json["field"]) == (422, "shape")


@pytest.mark.parametrize(
    ("content", "kind", "status", "slug"),
    [
        (b"not an image", "image/png", 422, "invalid-frame"),
        (b"II*\0\x08\0\0\0", "image/tiff", 422, "invalid-frame"),
        (b"", "image/tiff", 422, "invalid-frame"),
        (PIXELS.tobytes(), "text/plain", 415, "unsupported-media-type"),
    ],
)
async def test_an_unreadable_frame_is_refused(
    client: Client, content: bytes, kind: str, status: int, slug: str
) -> None:
    """Truncated, damaged or of another kind: the client's affair, and nobody else's."""
    reply = await push(client, "", content, Content_Type=kind)

    assert (reply.status, reply.problem) == (status, slug)


async def test_a_compressed_body_is_refused(client: Client) -> None:
    """What a body unfolds to cannot be bounded beforehand."""
    reply = await push(client, Content_Encoding="gzip")

    assert (reply.status, reply.problem) == (415, "unsupported-media-type")


async def test_a_frame_is_refused_by_its_length_before_it_is_read(supervisor: FakeSupervisor) -> None:
    """Too large, of unknown length, or more at once than there is memory for."""
    settings = HttpSettings(port=0, max_frame_mib=1, frame_memory_mib=1)
    async with serve_http(settings, supervisor) as url, Client(url) as client:
        for length, slug in (
            (f"Content-Length: {2 << 20}", "body-too-large"),
            ("Transfer-Encoding: chunked", "length-required"),
        ):
            async with connected(url, _head(length)) as (reader, _):
                assert (await read_reply(reader)).problem == slug
        async with connected(url, _head(f"Content-Length: {1 << 20}", "1024,1024") + b"x"):
            while (reply := await push(client)).status == 200:
                await asyncio.sleep(0)
            assert (reply.status, reply.problem, reply.headers["Retry-After"]) == (503, "too-many", "1")
        while (reply := await push(client)).status == 503:
            await asyncio.sleep(0)
        assert reply.status == 200


async def test_a_client_that_dies_in_the_middle_changes_nothing(
    client: Client, supervisor: FakeSupervisor
) -> None:
    """Its frame is not judged, the next one is the first."""
    async with connected(client.url, _head("Content-Length: 12288") + b"x" * 100):
        pass

    assert (await push(client)).json["verdict"]["frame_id"] == 1


def _head(length: str, shape: str = "96,128") -> bytes:
    lines = [
        f"POST /v1/frames?shape={shape}&dtype=uint8 HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/octet-stream",
        length,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
