"""The simulated microscope as a bridge program shows it: what each method does.

Moves and scans take their time on the simulator's clock; a scan has the beam for itself, so what comes to it
in the meantime from another client is refused as busy. Other than the column, which limits silently, a
bridge says when a value is out of range.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from focusd import __version__
from focusd.frame import Pixels, ScanRequest
from focusd.protocol.bridge_rpc import ErrorCode, Params
from focusd.protocol.bridge_values import (
    ColumnState,
    Dtype,
    Fields,
    Hello,
    ImageInfo,
    Json,
    parse_scan,
    working_distance,
)
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_busy import BusyConditions
from focusd.simulator.sharksem_optics import Optics

CAPABILITIES: Final = (
    "blank_beam",
    "freeze_auto_contrast",
    "get_stigmator",
    "ping",
    "set_stigmator",
    "subscribe",
)
"""All that the protocol knows."""
MAX_SCAN_PIXELS: Final = 8192 * 8192

_LENS_S = 0.3
_PERCENT_LIMIT = 100.0


class RefusedError(Exception):
    """A method that is not carried out; becomes an error answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(code, message)


@dataclass(frozen=True, slots=True)
class Done:
    """What a method gives back."""

    result: Json
    payload: bytes = b""


class BridgeInstrument:
    """What the clients of a simulated bridge share.

    Args:
        column: The microscope.
        faults: What goes wrong.
        pace: How fast time runs.
        worker: Renders images.
        capabilities: Optional methods it has.

    Attributes:
        contrast_frozen_for: *Judge.* Clients for which automatic contrast is held.
    """

    def __init__(
        self,
        column: SimulatedColumn,
        faults: Faults,
        pace: Pace,
        worker: Executor,
        capabilities: tuple[str, ...] = CAPABILITIES,
    ) -> None:
        self.column = column
        self.capabilities = capabilities
        self.contrast_frozen_for: set[object] = set()
        self._faults = faults
        self._pace = pace
        self._worker = worker
        self._optics = Optics(column, faults, BusyConditions(), pace)
        self._in_use = False

    def forget(self, client: object) -> None:
        """End what goes with a client's connection."""
        self.contrast_frozen_for.discard(client)

    # --- the methods every bridge has ---

    async def hello(self, _client: object, _params: Params) -> Done:
        """Tell who answers."""
        hello = Hello(
            limits_mm=self.column.options.limits_mm,
            vendor="focusd",
            model="simulated microscope",
            serial=str(self.column.options.seed),
            software_version=__version__,
            capabilities=frozenset(self.capabilities),
        )
        return Done(hello.as_json())

    async def get_state(self, _client: object, _params: Params) -> Done:
        """Tell the state."""
        return Done(self._state(None).as_json())

    async def set_working_distance(self, _client: object, params: Params) -> Done:
        """Move the lens and let it settle."""
        wanted_mm = working_distance(params, "set_working_distance")
        low_mm, high_mm = self.column.options.limits_mm
        if not low_mm <= wanted_mm <= high_mm:
            raise RefusedError(
                ErrorCode.OUT_OF_RANGE, f"{wanted_mm:g} mm is not within {low_mm:g} and {high_mm:g} mm"
            )
        async with self._using():
            self._optics.move_lens(wanted_mm)
            await asyncio.sleep(self._pace.real_s(_LENS_S))
        return Done({"working_distance_mm": self._optics.working_distance_mm})

    async def scan(self, _client: object, params: Params) -> Done:
        """Take an image."""
        request, frames = parse_scan(params)
        info, pixels = await self.take(request, frames)
        return Done(info.as_json(), pixels)

    async def take(
        self, request: ScanRequest, frames: int = 1, frame_id: str = ""
    ) -> tuple[ImageInfo, bytes]:
        """Scan; give what is told of the image, and its bytes.

        Raises:
            RefusedError: the instrument is busy, its beam is off, or the image is too large.
        """
        if request.width * request.height > MAX_SCAN_PIXELS:
            raise RefusedError(ErrorCode.OUT_OF_RANGE, f"a scan has at most {MAX_SCAN_PIXELS} pixels")
        if not self._beam_on:
            raise RefusedError(ErrorCode.BEAM_OFF, "the high voltage is off")
        loop = asyncio.get_running_loop()
        async with self._using():
            started_at, begin = time.time(), loop.time()
            # The column freezes what each exposure depends on; rendering may take longer than the beam does.
            exposures = [self._optics.expose(request, self.column.selected_detector) for _ in range(frames)]
            state = self._state(request.dwell_time_us)
            pixels = await loop.run_in_executor(
                self._worker, lambda: _mean([exposure.render() for exposure in exposures])
            )
            end = begin + self._pace.real_s(frames * request.beam_time_s)
            await asyncio.sleep(max(end - loop.time(), 0.0))
        dtype: Dtype = "uint16" if pixels.dtype.itemsize == 2 else "uint8"
        info = ImageInfo(request.shape, dtype, started_at, time.time(), state, frame_id)
        return info, pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()

    # --- the methods a bridge may have ---

    async def ping(self, _client: object, _params: Params) -> Done:
        """Give a sign of life."""
        return Done({})

    async def get_stigmator(self, _client: object, _params: Params) -> Done:
        """Tell the stigmator."""
        x_percent, y_percent = self.column.stigmator_percent
        return Done({"x_percent": x_percent, "y_percent": y_percent})

    async def set_stigmator(self, client: object, params: Params) -> Done:
        """Set the stigmator."""
        fields = Fields(params, "set_stigmator")
        x_percent, y_percent = fields.number("x_percent"), fields.number("y_percent")
        if max(abs(x_percent), abs(y_percent)) > _PERCENT_LIMIT:
            raise RefusedError(ErrorCode.OUT_OF_RANGE, "the stigmator goes from -100 to 100 %")
        self.column.stigmator_percent = (x_percent, y_percent)
        return await self.get_stigmator(client, params)

    async def freeze_auto_contrast(self, client: object, params: Params) -> Done:
        """Hold automatic contrast for a client, at the longest until it goes."""
        frozen = _flag(params, "freeze_auto_contrast", "frozen")
        if frozen:
            self.contrast_frozen_for.add(client)
        else:
            self.contrast_frozen_for.discard(client)
        return Done({"frozen": frozen})

    async def blank_beam(self, _client: object, params: Params) -> Done:
        """Keep the beam off the specimen, or let it on again."""
        self.column.blanked = _flag(params, "blank_beam", "blanked")
        return Done({"blanked": self.column.blanked})

    # --- helpers ---

    @property
    def _beam_on(self) -> bool:
        return self.column.beam_on and not self._faults.beam_off

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[None]:
        if self._in_use:
            raise RefusedError(ErrorCode.BUSY, "the instrument works for another client")
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False

    def _state(self, dwell_time_us: float | None) -> ColumnState:
        column = self.column
        detector = next(each for each in column.detectors if each.number == column.selected_detector)
        return ColumnState(
            working_distance_mm=self._optics.working_distance_mm,
            field_of_view_um=column.field_of_view_mm * 1e3,
            dwell_time_us=dwell_time_us,
            detector=detector.name,
            accelerating_voltage_kv=column.accelerating_voltage_kv,
            probe_current_pa=column.probe_current_pa,
            beam_on=self._beam_on,
            stage_position=column.stage_position,
        )


Handler: TypeAlias = Callable[[BridgeInstrument, object, Params], Awaitable[Done]]

METHODS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "hello": BridgeInstrument.hello,
        "get_state": BridgeInstrument.get_state,
        "set_working_distance": BridgeInstrument.set_working_distance,
        "scan": BridgeInstrument.scan,
        "ping": BridgeInstrument.ping,
        "get_stigmator": BridgeInstrument.get_stigmator,
        "set_stigmator": BridgeInstrument.set_stigmator,
        "freeze_auto_contrast": BridgeInstrument.freeze_auto_contrast,
        "blank_beam": BridgeInstrument.blank_beam,
    }
)
"""All but ``subscribe``, which is the session's own."""


def _flag(params: Params, method: str, name: str) -> bool:
    fields = Fields(params, method)
    value = fields.optional_bool(name)
    if value is None:
        raise fields.error(name, "must be true or false", value)
    return value


def _mean(images: list[Pixels]) -> Pixels:
    if len(images) == 1:
        return images[0]
    mean: Pixels = np.rint(np.mean(images, axis=0)).astype(images[0].dtype)
    return mean
