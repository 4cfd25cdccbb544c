"""A microscope's SharkSEM server over real TCP, in front of a simulated column.

Control connections come to port P, data connections to P + 1. A data connection belongs to the session
that announced its source port from the same address; failing that, to the only session still without one
(what the manual calls the firewall-friendly mode); failing that, it is closed.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapters on connecting and on the server's settings.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import structlog

from focusd.simulator.acceptor import Acceptor, listen, peer
from focusd.simulator.column import SimulatedColumn
from focusd.simulator.faults import Faults
from focusd.simulator.outlet import Outlet
from focusd.simulator.pace import Pace
from focusd.simulator.sharksem_commands import COMMANDS
from focusd.simulator.sharksem_instrument import Instrument
from focusd.simulator.sharksem_session import Session

_PORT_TRIES = 200
_READ_BYTES = 4096

_log = structlog.get_logger()


class SharkSEMServer:
    """Serves a simulated column; an asynchronous context manager.

    Args:
        column: The microscope. Drifts run on its own clock.
        host: IPv4 address to listen on.
        port: Control port; 0 takes a free one whose next one is free too.
        time_scale: How much faster than real everything runs that takes time: scans, settling, moves. 0 or
            infinity: nothing takes any time.
        faults: What goes wrong; may be changed at any time.
        strict: Log commands that are dropped.
        read_timeout_s: How long a client may leave a full buffer of images unread, in real seconds.

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
    ) -> None:
        self.column = column
        self.faults = faults if faults is not None else Faults()
        self.sessions: list[Session] = []
        # One thread, so that images are made in the order their scans began.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="simulated-scan")
        self._acceptor = Acceptor()
        self.instrument = Instrument(
            column, self.faults, Pace(time_scale), self._worker, self._acceptor.spawn
        )
        self._host = host
        self._wanted_port = port
        self._strict = strict
        self._read_timeout_s = read_timeout_s
        self._opened = 0
        self._port = 0

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The control port; the data port is the next one."""
        return self._port

    async def __aenter__(self) -> SharkSEMServer:
        control, data = _listen(self._host, self._wanted_port)
        self._port = control.getsockname()[1]
        await self._acceptor.__aenter__()
        self.instrument.power_up()
        self._acceptor.serve(control, self._serve_control)
        self._acceptor.serve(data, self._serve_data)
        _log.info("simulator_listening", host=self._host, control_port=self._port, data_port=self._port + 1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._acceptor.__aexit__(kind, error, trace)
        finally:
            self.instrument.busy.close()
            self._worker.shutdown(wait=False, cancel_futures=True)
            _log.info("simulator_stopped", sessions=self._opened)

    def close_connections(self) -> None:
        """Cut every connection at once, as a crash of the microscope's computer would; go on listening."""
        for session in list(self.sessions):
            session.cut()

    async def _serve_control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outlet = Outlet(writer, self.faults, self._read_timeout_s)
        address = peer(writer)
        if self.faults.single_client and self.sessions:
            _log.info("client_refused", client=f"{address[0]}:{address[1]}", reason="single-client mode")
            await outlet.aclose()
            return
        self._opened += 1
        session = Session(self._opened, address, self.instrument, outlet, COMMANDS, strict=self._strict)
        self.sessions.append(session)
        try:
            await session.run(reader)
        finally:
            self.sessions.remove(session)
            await outlet.aclose()

    async def _serve_data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outlet = Outlet(writer, self.faults, self._read_timeout_s)
        address = peer(writer)
        session = self._owner(address)
        if session is None:
            _log.info("data_connection_refused", client=f"{address[0]}:{address[1]}")
            await outlet.aclose()
            return
        session.data = outlet
        _log.info("data_connection_paired", session=session.number, client=f"{address[0]}:{address[1]}")
        try:
            # A client has nothing to say here; reading shows when it goes.
            while await reader.read(_READ_BYTES):
                pass
        except OSError as error:
            _log.info("data_connection_broken", session=session.number, reason=str(error))
        finally:
            if session.data is outlet:
                session.data = None
            await outlet.aclose()

    def _owner(self, address: tuple[str, int]) -> Session | None:
        waiting = [session for session in self.sessions if session.data is None]
        host, port = address
        if not self.faults.single_client:
            for session in waiting:
                if (session.address[0], session.data_port) == (host, port):
                    return session
        return waiting[0] if len(waiting) == 1 else None


def _listen(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind two neighbouring ports.

    Raises:
        OSError: a port that was asked for is taken, or no two neighbours are free.
    """
    for attempt in range(_PORT_TRIES):
        control = listen(host, port)
        try:
            return control, listen(host, control.getsockname()[1] + 1)
        except (OSError, OverflowError):
            control.close()
            if port or attempt == _PORT_TRIES - 1:
                raise
    raise OSError("no two neighbouring ports are free")
