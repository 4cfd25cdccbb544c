"""A bridge over real TCP, in front of a simulated column: what a lab's own bridge should be like.

Of ``Faults``, those of the lens and the beam apply, and ``answer_delay_s``, ``silence``, ``dribble``,
``corrupt_answer_id``, ``single_client`` and ``lost_pieces`` (an image's pixels are not sent). The others are
SharkSEM's own.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import structlog

from focusd.frame import ScanRequest
from focusd.simulator.acceptor import Acceptor, listen, peer
from focusd.simulator.bridge_instrument import CAPABILITIES, BridgeInstrument
from focusd.simulator.bridge_session import BridgeSession
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from focusd.simulator.outlet import Outlet
from focusd.simulator.pace import Pace

_log = structlog.get_logger()


class BridgeServer:
    """Serves a simulated column; an asynchronous context manager.

    Args:
        column: The microscope. Drifts run on its own clock.
        host: IPv4 address to listen on.
        port: Port; 0 takes a free one.
        time_scale: How much faster than real everything runs that takes time: scans and settling. 0 or
            infinity: nothing takes any time.
        faults: What goes wrong; may be changed at any time.
        strict: Log methods that are not known.
        read_timeout_s: How long a client may leave a full buffer of images unread, in real seconds.
        capabilities: Optional methods it has.

    Attributes:
        column: As given.
        faults: As given.
        instrument: What the sessions share.
        sessions: Sessions that are open.

    Raises:
        ValueError: ``time_scale`` is negative or not a number.
    """

    def __init__(
        self,
        column: SimulatedColumn,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        time_scale: float = 1.0,
        faults: Faults | None = None,
        strict: bool = False,
        read_timeout_s: float = 10.0,
        capabilities: tuple[str, ...] = CAPABILITIES,
    ) -> None:
        self.column = column
        self.faults = faults if faults is not None else Faults()
        self.sessions: list[BridgeSession] = []
        # One thread, so that images are made in the order their scans began.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="simulated-scan")
        self.instrument = BridgeInstrument(column, self.faults, Pace(time_scale), self._worker, capabilities)
        self._acceptor = Acceptor()
        self._host = host
        self._wanted_port = port
        self._strict = strict
        self._read_timeout_s = read_timeout_s
        self._port = 0
        self._owners_frames = 0

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    async def __aenter__(self) -> BridgeServer:
        listener = listen(self._host, self._wanted_port)
        self._port = listener.getsockname()[1]
        await self._acceptor.__aenter__()
        self._acceptor.serve(listener, self._serve)
        _log.info("simulator_listening", host=self._host, port=self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._acceptor.__aexit__(kind, error, trace)
        finally:
            self._worker.shutdown(wait=False, cancel_futures=True)
            _log.info("simulator_stopped")

    def close_connections(self) -> None:
        """Cut every connection at once, as a crash of the bridge would; go on listening."""
        for session in list(self.sessions):
            session.cut()

    async def acquire(self, request: ScanRequest) -> None:
        """Take an image as the instrument's owner does; every client that has subscribed will be told.

        Raises:
            RefusedError: the instrument is busy, or its beam is off.
        """
        info, pixels = await self.instrument.take(request, frame_id=str(self._owners_frames + 1))
        self._owners_frames += 1
        for session in self.sessions:
            if session.subscribed:
                session.frames.put(info.as_json(), pixels)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outlet = Outlet(writer, self.faults, self._read_timeout_s)
        client = ":".join(map(str, peer(writer)))
        if self.faults.single_client and self.sessions:
            _log.info("client_refused", client=client, reason="single-client mode")
            await outlet.aclose()
            return
        session = BridgeSession(client, self.instrument, self.faults, outlet, strict=self._strict)
        self.sessions.append(session)
        try:
            await session.run(reader)
        finally:
            self.sessions.remove(session)
            await outlet.aclose()
