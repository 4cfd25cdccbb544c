"""One client of the simulated bridge: requests one after another, each answered before the next is read.

What is no message ends the connection with an error that says so. What is a message and no request, an
unknown method or wrong parameters are answered with an error, and the connection goes on.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import structlog

from focusd.errors import RemoteProtocolError
from focusd.protocol.bridge import LENGTH_BYTES, NEED_DATA, Header, MessageStream
from focusd.protocol.bridge_rpc import (
    Answer,
    ErrorCode,
    Failure,
    Notification,
    Request,
    Result,
    parse_call,
)
from focusd.protocol.bridge_values import Json
from focusd.simulator.bridge_frames import PushedFrames
from focusd.simulator.bridge_instrument import METHODS, BridgeInstrument, Done, RefusedError
from focusd.simulator.faults import Faults
from focusd.simulator.outlet import Outlet, OutletClosedError

_READ_BYTES = 65_536
_SUBSCRIBE = "subscribe"
_OPTIONAL = frozenset(METHODS) - {"hello", "get_state", "set_working_distance", "scan"} | {_SUBSCRIBE}


class BridgeSession:
    """One connection.

    Args:
        client: The client's address and port, for the log.
        instrument: What all clients share.
        faults: What goes wrong.
        outlet: The way back to the client.
        strict: Whether methods that are not known are logged.

    Attributes:
        subscribed: Whether the client is told of images that the instrument's owner takes.
        frames: Those that wait to be told.
    """

    def __init__(
        self, client: str, instrument: BridgeInstrument, faults: Faults, outlet: Outlet, *, strict: bool
    ) -> None:
        self.subscribed = False
        self.frames = PushedFrames()
        self._client = client
        self._instrument = instrument
        self._faults = faults
        self._outlet = outlet
        self._strict = strict
        self._log = structlog.get_logger().bind(client=client)

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve the client until it goes, or breaks the protocol."""
        self._log.info("session_opened")
        async with asyncio.TaskGroup() as group:
            pusher = group.create_task(self._push(), name=f"images to {self._client}")
            try:
                reason = await self._serve(reader)
            finally:
                pusher.cancel()
                self._instrument.forget(self)
        self._log.info("session_closed", reason=reason, frames_dropped=self.frames.dropped)

    def cut(self) -> None:
        """Cut the connection."""
        self._outlet.abort()

    async def _serve(self, reader: asyncio.StreamReader) -> str:
        """Answer until the connection ends, and say why it did."""
        stream = MessageStream(max_payload_bytes=0)
        try:
            while data := await reader.read(_READ_BYTES):
                stream.receive_data(data)
                while (message := stream.next_message()) is not NEED_DATA:
                    await self._take(message.header)
        except RemoteProtocolError as error:
            with suppress(OutletClosedError):
                await self._send(Failure(None, ErrorCode.PARSE, str(error)).header)
            return "garbled"
        except (OSError, OutletClosedError):
            return "lost"
        return "closed_by_client"

    async def _push(self) -> None:
        """Tell of the images that the instrument's owner takes."""
        with suppress(OutletClosedError):
            await self.frames.push(self._tell)
        self.subscribed = False

    async def _tell(self, frame: Json, pixels: bytes) -> None:
        await self._send(Notification("frame", frame).header, pixels)

    async def _take(self, header: Header) -> None:
        try:
            call = parse_call(header)
        except RemoteProtocolError as error:
            await self._send(Failure(None, ErrorCode.INVALID_REQUEST, str(error)).header)
            return
        if isinstance(call, Request):
            answer, payload = await self._carry_out(call)
            await self._answer(answer, payload)

    async def _carry_out(self, request: Request) -> tuple[Answer, bytes]:
        identification = request.identification
        if request.method in _OPTIONAL and request.method not in self._instrument.capabilities:
            return self._unknown(request), b""
        try:
            done = await self._call(request)
        except RefusedError as error:
            return Failure(identification, error.code, error.message), b""
        except RemoteProtocolError as error:
            return Failure(identification, ErrorCode.INVALID_PARAMS, str(error)), b""
        if done is None:
            return self._unknown(request), b""
        return Result(identification, done.result), done.payload

    async def _call(self, request: Request) -> Done | None:
        if request.method == _SUBSCRIBE:
            self.subscribed = True
            return Done({})
        handler = METHODS.get(request.method)
        return None if handler is None else await handler(self._instrument, self, request.params)

    def _unknown(self, request: Request) -> Failure:
        if self._strict:
            self._log.warning("unknown_method", method=request.method[:64])
        return Failure(request.identification, ErrorCode.UNKNOWN_METHOD, "there is no such method")

    async def _answer(self, answer: Answer, payload: bytes) -> None:
        faults = self._faults
        if faults.answer_delay_s > 0:
            await asyncio.sleep(faults.answer_delay_s)
        if faults.silence:
            return
        header = answer.header
        if faults.corrupt_answer_id and isinstance(answer.identification, int):
            header["id"] = answer.identification + 1
        if payload and faults.lost_pieces > 0:
            faults.lost_pieces -= 1
            payload = b""
        await self._send(header, payload)

    async def _send(self, header: Header, payload: bytes = b"") -> None:
        # Not by encode_header, which refuses the not-a-number that a fault may ask for.
        data = json.dumps(header, separators=(",", ":")).encode()
        await self._outlet.send(len(data).to_bytes(LENGTH_BYTES, "big") + data + payload)
