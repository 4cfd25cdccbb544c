"""Well-formed bytes for each target, made by focusd's own writers: where a fuzzer begins."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from focusd.frame import Pixels
from focusd.protocol import bridge, bridge_rpc
from focusd.protocol.sharksem import Message, encode_message
from focusd.protocol.sharksem_body import encode_body
from focusd.protocol.sharksem_image import ScanPiece, wire_pixels
from tests.fuzz.targets import SHAPE

_PIXELS = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
_STATE = {
    "working_distance_mm": 9.0,
    "field_of_view_um": 100.0,
    "dwell_time_us": 1.0,
    "detector": "SE",
    "accelerating_voltage_kv": 5.0,
    "probe_current_pa": 100.0,
    "beam_on": True,
    "stage_position": {"x_mm": 1.0, "y_mm": 2.0, "z_mm": 3.0, "tilt_deg": 0.0, "rotation_deg": 0.0},
}
_HELLO = {
    "protocol": 1,
    "vendor": "V",
    "model": "M",
    "serial": "S",
    "capabilities": ["subscribe"],
    "limits": {"working_distance_mm": [4.0, 30.0]},
}
_IMAGE = {
    "shape": list(SHAPE),
    "dtype": "uint8",
    "started_at": 1.0,
    "finished_at": 2.0,
    "state": _STATE,
    "payload_bytes": 4096,
}


def _messages() -> list[bytes]:
    answer = encode_message(Message("GetWD", encode_body([9.5]), 7))
    return [answer, answer * 3, encode_message(Message("SetWD", encode_body([9.0]), 2**32 - 1, 1, 3))]


def _piece(pixels: Pixels, index: int, bits: int) -> bytes:
    return ScanPiece(1, 0, index, bits, wire_pixels(pixels)).encode()


def _images_of_a_scan() -> list[bytes]:
    small = _PIXELS.astype(np.uint8)
    halves = _piece(small[:32], 0, 8) + _piece(small[32:], 2048, 8)
    return [b"\x00" + halves, b"\x02" + halves * 2, b"\x01" + _piece(_PIXELS, 0, 16)]


def _orders() -> list[bytes]:
    body = encode_body([1, 64, 64, 0, 0, 63, 63, 1])
    return [encode_message(Message("ScScanXY", body, 9)) + _images_of_a_scan()[0][1:]]


def _bridge_message(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    said = {**header, "payload_bytes": len(payload)} if payload else dict(header)
    return bridge.encode_header(said) + payload


def _bridge_messages() -> list[bytes]:
    results = [bridge_rpc.Result(n, value).header for n, value in enumerate((_HELLO, _STATE, {}))]
    frame = bridge_rpc.Notification("frame", {**_IMAGE, "frame_id": "1"}).header
    failure = bridge_rpc.Failure(4, -32001, "busy").header
    request = bridge_rpc.Request("scan", {"width": 64, "height": 64, "dwell_time_us": 1.0}, 5).header
    alone = [_bridge_message(header) for header in (*results, failure, request)]
    return [*alone, _bridge_message(frame, bytes(4096)), b"".join(alone)]


def _images() -> list[bytes]:
    small = _PIXELS.astype(np.uint8)
    colour = np.dstack([small] * 3)
    return [
        cv2.imencode(suffix, image)[1].tobytes()
        for suffix, image in (
            (".png", small),
            (".png", _PIXELS),
            (".bmp", small),
            (".jpg", small),
            (".tif", small),
            (".tif", _PIXELS),
            (".tif", colour),
        )
    ]


SEEDS: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "sharksem_messages": tuple(_messages()),
        "sharksem_bodies": tuple(
            bytes([n]) + body
            for n in range(0, 120, 7)
            for body in (encode_body([9.5]), encode_body([1, "a text", 2.5]), struct.pack("<i", -1))
        ),
        "sharksem_images": tuple(_images_of_a_scan()),
        "relayed": tuple(_orders()),
        "bridge_messages": tuple(_bridge_messages()),
        "images": tuple(_images()),
        "bare_pixels": (b"64,64 uint8\n" + bytes(4096), b"64,64 >u2\n" + bytes(8192)),
    }
)
