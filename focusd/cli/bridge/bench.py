"""What the rules of a conformance run share: the connection, what the bridge has told, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from focusd import __version__
from focusd.cli.bridge.talk import BrokenRuleError, Talk, Told, open_talk
from focusd.errors import FocusdError, RemoteProtocolError
from focusd.frame import ScanRequest
from focusd.protocol.bridge_rpc import Failure, Params
from focusd.protocol.bridge_values import (
    PROTOCOL_VERSION,
    ColumnState,
    Hello,
    ImageInfo,
    parse_hello,
    parse_image,
    parse_state,
    scan_params,
    working_distance,
)

T = TypeVar("T")

SETTLE_S = 10.0
"""What a move may take on top of an answer's time, as in the driver's default."""
SCAN_MARGIN_S = 10.0


class SkippedRuleError(FocusdError):
    """The rule cannot be checked here; the message says why."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What a run may do.

    Attributes:
        moves: Whether the lens may be moved at all.
        beyond_limits: Whether moves out of range may be asked for, to see them refused.
        step_um: How far the lens is moved.
        tolerance_um: How far a readback may be from what was asked for.
        side_px: Width and height of the scans.
        dwell_time_us: Dwell time of the scans.
        timeout_s: For an answer.
        frames_s: How long frames of the owner's are waited for.
    """

    moves: bool = True
    beyond_limits: bool = False
    step_um: float = 5.0
    tolerance_um: float = 1.0
    side_px: int = 256
    dwell_time_us: float = 1.0
    timeout_s: float = 5.0
    frames_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Scanned:
    """One image and its exchange."""

    info: ImageInfo
    payload: memoryview
    told: Told


class Bench:
    """A bridge under test.

    Attributes:
        host, port: Where it listens.
        options: What may be done.
        hello: What it told, once it has.
        found_mm: The working distance before the first move.
        moved: Whether the lens has been sent anywhere.
    """

    def __init__(self, host: str, port: int, options: CheckOptions) -> None:
        self.host = host
        self.port = port
        self.options = options
        self.hello: Hello | None = None
        self.found_mm: float | None = None
        self.moved = False
        self._talk: Talk | None = None

    async def talk(self) -> Talk:
        """Give a usable connection, a new one if need be, on which hello has been said."""
        if self._talk is None or not self._talk.usable:
            await self.aclose()
            self._talk = await self.another()
            if self.hello is not None:
                await self.say_hello(self._talk)
        return self._talk

    async def another(self) -> Talk:
        """Give a connection of its own; the caller closes it."""
        return await open_talk(self.host, self.port, timeout_s=self.options.timeout_s)

    async def aclose(self) -> None:
        """Close the connection."""
        talk, self._talk = self._talk, None
        if talk is not None:
            await talk.aclose()

    # --- the methods ---

    async def say_hello(self, talk: Talk, **more: object) -> Hello:
        """Say hello and give what the bridge tells."""
        params: Params = {"protocol": PROTOCOL_VERSION, "client": f"focusd {__version__}", **more}
        told = await talk.ask("hello", params, timeout_s=self.options.timeout_s)
        return read(parse_hello, success(told, "hello"))

    def known(self) -> Hello:
        """Give what the bridge has told.

        Raises:
            SkippedRuleError: it has not.
        """
        if self.hello is None:
            raise SkippedRuleError("hello failed")
        return self.hello

    def demand_capability(self, name: str) -> None:
        """Raise ``SkippedRuleError`` unless the bridge says that it has it."""
        if name not in self.known().capabilities:
            raise SkippedRuleError(f"{name} is not among the capabilities")

    async def state(self, *, extra_s: float = 0.0) -> ColumnState:
        """Read the state; the first working distance ever read is where the lens is left at the end."""
        state = read(parse_state, success(await self.ask("get_state", extra_s=extra_s), "get_state"))
        if self.found_mm is None:
            self.found_mm = state.working_distance_mm
        return state

    async def ask(self, method: str, params: Params | None = None, *, extra_s: float = 0.0) -> Told:
        """Ask, with ``extra_s`` on top of an answer's usual time."""
        self.known()
        return await (await self.talk()).ask(method, params, timeout_s=self.options.timeout_s + extra_s)

    async def ask_move(self, params: Params) -> Told:
        """Ask for a move, with the time to settle."""
        self.moved = True
        return await self.ask("set_working_distance", params, extra_s=SETTLE_S)

    async def ask_scan(self, params: Params, *, beam_time_s: float) -> Told:
        """Ask for an image, with the time it takes."""
        return await self.ask("scan", params, extra_s=2 * beam_time_s + SCAN_MARGIN_S)

    async def move(self, working_distance_mm: float) -> float:
        """Move the lens and give the readback."""
        told = await self.ask_move({"working_distance_mm": working_distance_mm})
        return read(
            lambda value: working_distance(value, "set_working_distance"),
            success(told, "set_working_distance"),
        )

    @property
    def request(self) -> ScanRequest:
        """The usual scan."""
        side = self.options.side_px
        return ScanRequest(side, side, self.options.dwell_time_us)

    async def scan(self, request: ScanRequest, **more: object) -> Scanned:
        """Scan and give an image of the right shape."""
        told = await self.ask_scan(scan_params(request) | more, beam_time_s=request.beam_time_s)
        value = success(told, "scan")
        payload = told.payload
        if payload is None:
            raise BrokenRuleError("scan was answered without an image: payload_bytes is missing or 0")
        info = read(lambda value: parse_image(value, len(payload)), value)
        if info.shape != request.shape:
            rows, columns = request.shape
            raise BrokenRuleError(
                f"an image of shape [{rows}, {columns}] was asked for, got {list(info.shape)}"
            )
        return Scanned(info, payload, told)

    # --- the way back ---

    def check_reached(self, wanted_mm: float, read_mm: float, what: str) -> None:
        """Raise ``BrokenRuleError`` unless a reading is where it should be."""
        off_um = abs(read_mm - wanted_mm) * 1e3
        if off_um > self.options.tolerance_um + 1e-6:
            raise BrokenRuleError(
                f"{what} is {read_mm:.6f} mm, {wanted_mm:.6f} mm was expected ({off_um:.2f} µm off)"
            )

    async def put_back(self) -> None:
        """Bring the lens to where it was found, if it was moved."""
        if not self.moved or self.found_mm is None:
            return
        # What was broken off may be a move, which has to end first.
        now_mm = (await self.state(extra_s=SETTLE_S)).working_distance_mm
        if now_mm != self.found_mm:
            await self.move(self.found_mm)


def read(parse: Callable[[object], T], value: object) -> T:
    """Read a result; what is wrong with it breaks the rule."""
    try:
        return parse(value)
    except RemoteProtocolError as error:
        raise BrokenRuleError(str(error)) from error


def success(told: Told, method: str) -> object:
    """Give the result of an answer that must not be an error."""
    if isinstance(told.answer, Failure):
        raise BrokenRuleError(f"{method} was answered with an error: {told.answer.reason}")
    return told.answer.value


def refusal(told: Told, what: str) -> Failure:
    """Give the error of an answer that must be one."""
    if isinstance(told.answer, Failure):
        return told.answer
    raise BrokenRuleError(f"{what} was answered as if nothing were wrong")
