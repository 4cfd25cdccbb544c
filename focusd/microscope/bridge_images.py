"""Images from a bridge: checked before a pixel comes, received in place, and not older than asked for."""

from __future__ import annotations

from typing import Final

from focusd.errors import RemoteProtocolError
from focusd.frame import MAX_SIDE_PX, MIN_SIDE_PX, Frame, ImagingConditions, Pixels, ScanRegion, ScanRequest
from focusd.framepool import FRAMES
from focusd.protocol.bridge_values import BYTES_PER_PIXEL, ImageInfo, parse_image

NM_PER_UM: Final = 1e3
CLOCK_GRAIN_S: Final = 0.05
"""Clocks of older systems go in steps of 16 ms; images that are kept by mistake are older than this."""

_MOST_BYTES_PER_PIXEL: Final = max(BYTES_PER_PIXEL.values())


class ImageReceiver:
    """Makes room for the image of one scan once its answer has been checked."""

    def __init__(self, request: ScanRequest) -> None:
        self._request = request
        self._info: ImageInfo | None = None
        self._pixels: Pixels | None = None

    @property
    def most_bytes(self) -> int:
        """Size the image may have: the instrument chooses the depth."""
        rows, columns = self._request.shape
        return rows * columns * _MOST_BYTES_PER_PIXEL

    def place(self, result: object, payload_bytes: int) -> memoryview:
        """Give the memory for the pixels.

        Raises:
            RemoteProtocolError: the answer does not describe the image that was asked for.
        """
        info = parse_image(result, payload_bytes)
        if info.shape != self._request.shape:
            wanted = self._request.shape
            raise RemoteProtocolError(
                f"scan: an image of {wanted[0]} x {wanted[1]} px was asked for, "
                f"got {info.shape[0]} x {info.shape[1]} px"
            )
        pixels = pixels_for(info)
        self._info, self._pixels = info, pixels
        return pixels.data.cast("B")

    def take(self) -> tuple[ImageInfo, Pixels]:
        """Give the image that has come.

        Raises:
            RemoteProtocolError: none has.
        """
        if self._info is None or self._pixels is None:
            raise RemoteProtocolError("scan: an answer without an image")
        return self._info, self._pixels


class StalenessCheck:
    """Tells images that were begun before they were asked for, by the bridge's own clock.

    How far that clock is ahead of ours is not known, but at least so far that the last image was finished
    before its answer came. An image that was begun earlier than its request, even so reckoned, is an old
    one; and one that took longer than the whole exchange was begun before it.
    """

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    def judge(self, info: ImageInfo, *, sent_at: float, came_at: float) -> str:
        """Say what is wrong with an image; nothing if nothing is.

        Args:
            info: What the bridge tells of the image.
            sent_at: When it was asked for, in seconds of our clock.
            came_at: When the answer came.
        """
        too_long_s = (info.finished_at - info.started_at) - (came_at - sent_at)
        too_early_s = -float("inf") if self._ahead_s is None else sent_at + self._ahead_s - info.started_at
        # Always by the newest image: the bridge's clock may have been set.
        self._ahead_s = info.finished_at - came_at
        early_s = max(too_long_s, too_early_s)
        if early_s <= CLOCK_GRAIN_S:
            return ""
        return f"by the bridge's clock the image was begun {early_s:.3f} s before it was asked for"


def pixels_for(info: ImageInfo) -> Pixels:
    """Give memory for the pixels of an image, whatever stands in it."""
    # Little-endian on the wire; Frame brings it to this machine's order.
    pixels: Pixels = (
        FRAMES.take(info.payload_bytes).view("u1" if info.dtype == "uint8" else "<u2").reshape(info.shape)
    )
    return pixels


def conditions_of(info: ImageInfo, *, columns: int, dwell_time_us: float | None) -> ImagingConditions:
    """Give the conditions of an image, of whose scan ``columns`` span the field of view."""
    state = info.state
    field_um = state.field_of_view_um
    return ImagingConditions(
        rows=info.shape[0],
        columns=info.shape[1],
        bits_per_pixel=8 * BYTES_PER_PIXEL[info.dtype],
        dwell_time_us=dwell_time_us,
        pixel_size_nm=None if field_um is None else field_um * NM_PER_UM / columns,
        detector=state.detector,
        accelerating_voltage_kv=state.accelerating_voltage_kv,
    )


def frame_of(request: ScanRequest, info: ImageInfo, pixels: Pixels, acquired_at: float) -> Frame:
    """Make a frame of the image of a scan."""
    state = info.state
    dwell_time_us = state.dwell_time_us or request.dwell_time_us
    conditions = conditions_of(info, columns=request.width, dwell_time_us=dwell_time_us)
    return Frame(pixels, conditions, state.working_distance_mm, acquired_at, state.stage_position)


def inside_the_field(request: ScanRequest) -> bool:
    """Tell whether a scan and its region have sides that an image may have, the region inside."""
    region = request.region or ScanRegion(0, 0, request.width, request.height)
    sides = (request.width, request.height, region.width, region.height)
    return (
        min(region.x, region.y) >= 0
        and region.x + region.width <= request.width
        and region.y + region.height <= request.height
        and all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in sides)
    )
