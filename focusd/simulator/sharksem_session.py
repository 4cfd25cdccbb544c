"""One client of the simulated SharkSEM server: its settings and its queue of commands.

Rules kept here:

1. Commands run one after another. The head of the queue waits while a condition it is flagged with is
   raised, and everything behind it waits too; only a command with the jump bit gets ahead.
2. A function that gives something back is answered, a void one only when the request has bit 0: a client
   that does not check names would take a superfluous answer for that of its next command.
3. What is unknown, too new, broken or refused is dropped without an answer.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapters on the message header and on execution.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from focusd.errors import RemoteProtocolError
from focusd.protocol.sharksem import NEED_DATA, WAIT_FLAGS, Flag, Message, MessageStream, encode_message
from focusd.protocol.sharksem_body import Value
from focusd.protocol.sharksem_functions import FUNCTIONS, Function, parse_version
from focusd.simulator.outlet import Outlet, OutletClosedError
from focusd.simulator.sharksem_camera import ChamberCamera
from focusd.simulator.sharksem_instrument import Instrument

Answer: TypeAlias = Sequence[Value] | bytes | None
"""What a command gives back: values in their order, a body ready made, or nothing."""
Handler: TypeAlias = Callable[..., Answer | Awaitable[Answer]]
"""Carries out one command: takes the session and the arguments."""

CHANNELS = 8
MAX_REQUEST_BODY_BYTES = 1 << 20

_MAX_QUEUE = 1000
_READ_BYTES = 65_536
_LAST_COMMANDS_S = 0.5


class CommandRefusedError(Exception):
    """A licence is missing: the command is dropped without an answer."""


@dataclass(slots=True)
class Channel:
    """A video input as one session sees it; detector 0 is none in particular."""

    detector: int = 0
    enabled: bool = False
    bits_per_pixel: int = 8


@dataclass(frozen=True, slots=True)
class LookUpTable:
    """Grey levels between ``low`` and ``high``, as shares of the range, are spread by a power law."""

    low: float = 0.0
    high: float = 1.0
    gamma: float = 1.0


class Session:
    """One control connection with its settings; the data connection joins later.

    Args:
        number: Counted from 1 since the server started.
        address: The client's address and port.
        instrument: What all sessions share.
        answers: The way back to the client.
        handlers: What each command does.
        strict: Whether dropped commands are logged.

    Attributes:
        data: The data connection, when there is one.
        data_port: The client's port that the data connection was announced to come from.
        channels: Video inputs; none is enabled at first.
        lut_source: 0 none, 1 the GUI's (which is neutral), 2 ``luts``.
        luts: Look-up tables by channel.
        camera: The chamber camera.
    """

    def __init__(
        self,
        number: int,
        address: tuple[str, int],
        instrument: Instrument,
        answers: Outlet,
        handlers: Mapping[str, Handler],
        *,
        strict: bool,
    ) -> None:
        self.number = number
        self.address = address
        self.instrument = instrument
        self.data: Outlet | None = None
        self.data_port: int | None = None
        self.channels = [Channel() for _ in range(CHANNELS)]
        self.lut_source = 1
        self.luts: defaultdict[int, LookUpTable] = defaultdict(LookUpTable)
        self.camera = ChamberCamera(self.send_data, instrument.spawn)
        self._answers = answers
        self._handlers = handlers
        self._strict = strict
        self._queue: deque[Message] = deque()
        self._ended = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._log = structlog.get_logger().bind(session=number, client=f"{address[0]}:{address[1]}")

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve the client until it goes, or breaks the protocol."""
        self._log.info("session_opened")
        reason = "closed_by_server"
        self.instrument.busy.listen(self._wake)
        try:
            async with asyncio.TaskGroup() as group:
                executor = group.create_task(self._execute())
                reason = await self._receive(reader)
                self.instrument.forget(self)
                # What was received before the end is still carried out, unless it has to wait.
                self._ended = True
                self._wake.set()
                await asyncio.wait({executor}, timeout=_LAST_COMMANDS_S)
                executor.cancel()
        finally:
            self.instrument.busy.unlisten(self._wake)
            self.instrument.forget(self)
            self.camera.disable()
            self.cut()
            self._log.info("session_closed", reason=reason)

    def cut(self) -> None:
        """Cut both connections."""
        self._answers.abort()
        if self.data is not None:
            self.data.abort()

    async def send_data(self, message: bytes) -> None:
        """Send an image message; without a data connection it goes nowhere.

        A client that does not read its images loses both connections.
        """
        if self.data is None:
            return
        try:
            await self.data.send(message)
        except OutletClosedError as error:
            self.data = None
            self._log.info("data_connection_lost", reason=str(error))
            if error.client_stalled:
                self.cut()

    async def _receive(self, reader: asyncio.StreamReader) -> str:
        """Queue what comes; give the reason for the end."""
        stream = MessageStream(max_body_bytes=MAX_REQUEST_BODY_BYTES)
        try:
            while data := await reader.read(_READ_BYTES):
                stream.receive_data(data)
                while (message := stream.next_message()) is not NEED_DATA:
                    await self._enqueue(message)
        except RemoteProtocolError as error:
            self._log.info("session_garbled", problem=str(error))
            return "garbled"
        except OSError:
            return "lost"
        return "closed_by_client"

    async def _enqueue(self, message: Message) -> None:
        while len(self._queue) >= _MAX_QUEUE:
            self._room.clear()
            await self._room.wait()
        if message.flags & Flag.JUMP:
            self._queue.appendleft(message)
        else:
            self._queue.append(message)
        self._wake.set()

    async def _execute(self) -> None:
        try:
            while await self._next_is_due():
                request = self._queue.popleft()
                self._room.set()
                await self._carry_out(request)
                # A client that sends thousands of commands at once must not keep the others waiting.
                await asyncio.sleep(0)
        except OutletClosedError as error:
            self._log.info("control_connection_lost", reason=str(error))
            self.cut()

    async def _next_is_due(self) -> bool:
        """Wait until the head of the queue may run; ``False`` when nothing more will."""
        while not self._queue or self.instrument.busy.raised(self._queue[0].flags & WAIT_FLAGS):
            if self._ended:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    async def _carry_out(self, request: Message) -> None:
        function, handler = FUNCTIONS.get(request.name), self._handlers.get(request.name)
        version = parse_version(self.instrument.faults.protocol_version)
        if function is None or handler is None or function.since > version:
            self._drop(request, "unknown command")
            return
        try:
            answer = handler(self, *function.request.decode(request.body))
            if isinstance(answer, Awaitable):
                answer = await answer
        except (RemoteProtocolError, CommandRefusedError) as error:
            self._drop(request, str(error))
            return
        if not function.is_void or request.flags & Flag.SEND_RESPONSE:
            await self._answer(request, function, answer)

    async def _answer(self, request: Message, function: Function, answer: Answer) -> None:
        faults = self.instrument.faults
        body = answer if isinstance(answer, bytes) else function.answer.encode(answer or ())
        if faults.answer_delay_s > 0:
            await asyncio.sleep(faults.answer_delay_s)
        if faults.silence:
            return
        identification = request.identification
        if faults.corrupt_answer_id:
            identification = (identification + 1) % 2**32
        message = Message(request.name, body, identification, queue=request.queue)
        await self._answers.send(encode_message(message))

    def _drop(self, request: Message, reason: str) -> None:
        if self._strict:
            self._log.warning(
                "command_dropped", command=request.name, reason=reason, body_bytes=len(request.body)
            )
