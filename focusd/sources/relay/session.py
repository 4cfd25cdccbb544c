"""One client of the relay: its control connection, the one to the microscope, and their image connections.

Rules kept here:

1. Every control message is passed on as it came, known or not, with one exception: the port in a client's
   TcpRegDataPort is replaced by that of focusd's own image connection. The answer is passed back when that
   connection stands, so a client that scans at once loses nothing.
2. A new scan waits while the gate is closed, at most ``max_hold_s``. What the session sends after it waits
   behind it. A scan that was passed on is never touched.
3. When either side ends, the other is told as the microscope or the client would have told it, and within
   ``linger_s`` everything of the session is closed. What a client left waiting at the gate is dropped.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog

from focusd.microscope.cleanup import afterwards
from focusd.microscope.tcp import tune
from focusd.protocol.sharksem_fold import ScanFolder
from focusd.protocol.sharksem_orders import SCAN_REQUESTS
from focusd.protocol.sharksem_parts import MessageSplitter, Part
from focusd.sources.relay.ends import ControlEnd
from focusd.sources.relay.events import SessionClosed, SessionOpened
from focusd.sources.relay.frames import FrameTap
from focusd.sources.relay.guard import Guard
from focusd.sources.relay.hold import ScanHold
from focusd.sources.relay.lane import Delay, Lane
from focusd.sources.relay.paths import LONGEST_REGISTRATION, REGISTRATION, DataPaths
from focusd.sources.relay.shared import Surroundings
from focusd.sources.relay.watch import SessionWatch

BOTH: Final = 2
_LONGEST_SCAN_REQUEST: Final = 4096
# A scan request passes in one piece: one that had half passed when the gate closed would start behind it.
_WHOLE: Final = {REGISTRATION: LONGEST_REGISTRATION} | dict.fromkeys(SCAN_REQUESTS, _LONGEST_SCAN_REQUEST)


class RelaySession:
    """A client's session.

    Args:
        number: Counted from 1 since the relay was started.
        address: The client's address and port.
        around: What all sessions share.
    """

    def __init__(self, number: int, address: tuple[str, int], around: Surroundings) -> None:
        self.number = number
        self.address = address
        self._around = around
        self._folder = ScanFolder()
        self._watch = SessionWatch(number, around.column, self._folder, around.on_event)
        self._watching = Guard("watching", once_only=True, session=number)
        self._client = ControlEnd(self)
        self._upstream = ControlEnd(self)
        client = f"{address[0]}:{address[1]}"
        self._paths = DataPaths(
            lambda: self._upstream.socket,
            lambda: self._new_tap().observe,
            around.options.connect_timeout_s,
            session=number,
            client=client,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._early: socket.socket | None = None
        self._ended = self._lost = 0
        self._over = asyncio.Event()
        self._reason = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._hold = ScanHold(number, around)
        self._up = self._lane(self._client, self._upstream, self._hold.delay, self._pass_up)
        self._down = self._lane(self._upstream, self._client, self._connect_data, self._pass_down)
        self._log = structlog.get_logger(__name__).bind(session=number, client=client)

    @property
    def is_scanning(self) -> bool:
        """Whether a scan of this client may be running; always, when nobody reads along any more."""
        return self._folder.active or self._watching.failures > 0

    @property
    def is_held(self) -> bool:
        """Whether a scan of this client waits at the gate."""
        return self._hold.active

    @property
    def wants_data(self) -> bool:
        """Whether an image connection may still come."""
        return not self._over.is_set() and self._early is None and self._paths.wants_client

    async def run(self, connection: socket.socket) -> None:
        """Serve the client until one of both sides ends."""
        async with afterwards(self._close):
            await asyncio.get_running_loop().connect_accepted_socket(lambda: self._client, connection)
            if await self._open():
                await self._serve()

    def expects(self, host: str, port: int) -> bool:
        """Tell whether an image connection from this address was announced."""
        return self.address[0] == host and self._paths.expects(port)

    def join(self, connection: socket.socket) -> None:
        """Take an image connection of the client, announced or not.

        Raises:
            OSError: there is no way on from here.
        """
        if not self._is_open:
            self._early = connection
            return
        path = self._paths.join(connection)
        if path is not None:
            self._spawn(self._paths.connect(path))

    # --- called by the two ends ---

    def received(self, end: ControlEnd, data: bytes) -> None:
        """Pass bytes on."""
        (self._up if end is self._client else self._down).receive(data)
        # The rest of the message, or the next one, may wait for this (Nagle's algorithm).
        end.acknowledge()

    def ended(self, end: ControlEnd) -> None:
        """Tell the other side, and give it some time to answer what it has received and to end as well."""
        self._ended += 1
        lane, other, side = (
            (self._up, self._upstream, "client")
            if end is self._client
            else (self._down, self._client, "microscope")
        )
        lane.finish()
        other.finish()
        if self._ended == BOTH:
            self._client.close()
            self._upstream.close()
        elif self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(
                self._around.options.linger_s, self._end, f"closed by the {side}"
            )

    def lost(self, end: ControlEnd, error: Exception | None) -> None:
        """Close the session; after a proper end only when both sides have been sent all there was."""
        self._lost += 1
        side = "client" if end is self._client else "microscope"
        if error is not None:
            self._end(f"{side} lost: {error}")
        elif self._ended < BOTH or self._lost == BOTH:
            self._end(f"closed by the {side}")

    def filled(self, end: ControlEnd, *, full: bool) -> None:
        """Read one side no faster than the other one does."""
        source = self._client if end is self._upstream else self._upstream
        if full:
            source.pause()
        else:
            source.resume()

    # --- opening and closing ---

    async def _open(self) -> bool:
        """Connect to the microscope; tell whether that succeeded."""
        loop, options = asyncio.get_running_loop(), self._around.options
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                await loop.create_connection(
                    lambda: self._upstream, options.upstream_host, options.upstream_port
                )
            tune(self._upstream.socket)
        except OSError as error:
            self._end(f"no connection to the microscope: {str(error) or type(error).__name__}")
            return False
        return True

    async def _serve(self) -> None:
        self._is_open = True
        self._log.info("relay_session_opened")
        self._around.on_event(SessionOpened(self.number, f"{self.address[0]}:{self.address[1]}"))
        self._upstream.resume()
        self._client.resume()
        if self._early is not None:
            self.join(self._early)
            self._early = None
        await self._over.wait()

    async def _close(self) -> None:
        self._end("the relay was stopped")
        self._log.info("relay_session_closed", reason=self._reason)
        if self._deadline is not None:
            self._deadline.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._early is not None:
            self._early.close()
        self._paths.close()
        self._client.abort()
        self._upstream.abort()
        await self._client.wait_closed()
        await self._upstream.wait_closed()
        self._folder.close()
        self._watch.tell_ended_scans()
        self._around.on_event(SessionClosed(self.number, self._reason))

    def _end(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    # --- the two lanes ---

    def _lane(
        self,
        source: ControlEnd,
        sink: ControlEnd,
        delay: Callable[[Part], Delay | None],
        convert: Callable[[Part], bytes],
    ) -> Lane:
        return Lane(
            MessageSplitter(_WHOLE),
            delay=delay,
            convert=convert,
            write=sink.write,
            spawn=self._spawn,
            pause=source.pause,
            resume=source.resume,
        )

    def _pass_up(self, part: Part) -> bytes:
        self._watching.run(self._watch.request, part)
        if part.begins and part.head.name in SCAN_REQUESTS:
            self._around.counters.scans += 1
        return self._paths.announce(part.data) if _is_registration(part) else part.data

    def _connect_data(self, part: Part) -> Delay | None:
        """Let the answer to an announcement wait until focusd's own image connection stands."""
        path = self._paths.to_connect(part) if _is_registration(part) else None
        return None if path is None else partial(self._paths.connect, path)

    def _pass_down(self, part: Part) -> bytes:
        self._watching.run(self._watch.answer, part)
        return part.data

    def _new_tap(self) -> FrameTap:
        around = self._around
        return FrameTap(
            self.number, self._folder, self._watch, around.column, around.on_frame, around.is_behind
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._around.spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_registration(part: Part) -> bool:
    return part.head.name == REGISTRATION and part.begins and part.ends and part.head.body_bytes >= 4
