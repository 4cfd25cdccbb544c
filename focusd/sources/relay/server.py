"""The relay: acquisition software connects to it as to a SharkSEM server, and is led on to one.

Control connections come to port P, image connections to P + 1. An image connection belongs to the session
that announced its source port from the same address; failing that, to the only session still without one
(what the manual calls the firewall-friendly mode); failing that, it is closed.

A session of its own for every client keeps what belongs to a session at the microscope apart: channels,
look-up tables, the queue of commands.

Source: TESCAN, SharkSEM Remote Control manual 2.0.25, chapters on connecting and on the server's settings.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import structlog

from focusd.microscope.interface import MicroscopeState
from focusd.sources.relay.accepting import Acceptor
from focusd.sources.relay.column import ColumnKnowledge
from focusd.sources.relay.events import RelayEvent
from focusd.sources.relay.frames import RelayedFrame
from focusd.sources.relay.gate import Gate, ScanGate
from focusd.sources.relay.guard import Guard
from focusd.sources.relay.session import RelaySession
from focusd.sources.relay.shared import RelayCounters, RelayOptions, Surroundings
from focusd.sources.relay.sockets import listen_on_pair

_log = structlog.get_logger(__name__)


class Relay:
    """Relays any number of clients to one microscope; an asynchronous context manager.

    Args:
        options: Where it listens and leads to.
        on_frame: Takes the clients' frames, in the event loop; it should only put them somewhere. It runs
            before anything the client sends after the frame is looked at, so a gate closed here holds the
            client's very next scan. What it raises is logged once.
        on_event: Takes what is learnt of the clients; as ``on_frame``.
        is_behind: Whether ``on_frame`` could not take another frame; images are then not read, for some
            seconds.
        gate: Where new scans wait; open for ever if none is given.

    Raises:
        OSError: it cannot listen (on entering).
    """

    def __init__(
        self,
        options: RelayOptions,
        *,
        on_frame: Callable[[RelayedFrame], object],
        on_event: Callable[[RelayEvent], object] = lambda _: None,
        is_behind: Callable[[], bool] = lambda: False,
        gate: Gate | None = None,
    ) -> None:
        self._on_frame = on_frame
        self._on_event = on_event
        self._judging = Guard("on_frame", once_only=False)
        self._telling = Guard("on_event", once_only=False)
        self._options = options
        self._around = Surroundings(
            options,
            ScanGate() if gate is None else gate,
            self._spawn,
            self._take_frame,
            self._take_event,
            is_behind,
        )
        self._sessions: list[RelaySession] = []
        self._changed = asyncio.Event()
        self._acceptors: tuple[Acceptor, ...] = ()
        self._port = 0
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def port(self) -> int:
        """The control port; the data port is the next one."""
        return self._port

    @property
    def counters(self) -> RelayCounters:
        """What has come about so far."""
        return self._around.counters

    @property
    def column(self) -> ColumnKnowledge:
        """What is known of the microscope from the clients' conversation with it."""
        return self._around.column

    @property
    def clients(self) -> int:
        """Sessions that are open."""
        return len(self._sessions)

    @property
    def is_scanning(self) -> bool:
        """Whether a scan of any client may be running."""
        return any(session.is_scanning for session in self._sessions)

    def learn(self, state: MicroscopeState) -> None:
        """Take over what the owner has just read of the microscope, to label the clients' frames with."""
        self._around.column.learn(state)

    @property
    def is_holding(self) -> bool:
        """Whether a client's scan waits at the gate."""
        return any(session.is_held for session in self._sessions)

    async def wait_idle(self) -> None:
        """Return when no client's scan is running; with the gate closed it stays so."""
        await self._wait_until(lambda: not self.is_scanning)

    async def wait_held(self) -> None:
        """Return when a client's scan waits at the gate, or no client is left.

        That is when to work on the lens: a client between two frames still stops its scan, which stops
        anybody's, and moves the stage. What it sent before the scan that waits has been passed on.
        """
        await self._wait_until(lambda: self.is_holding or not self._sessions)

    async def __aenter__(self) -> Relay:
        control, data = listen_on_pair(self._options.host, self._options.port)
        await self._group.__aenter__()
        self._acceptors = (Acceptor(control, self._start_session), Acceptor(data, self._start_data))
        self._port = self._acceptors[0].port
        _log.info("relay_listening", host=self._options.host, control_port=self.port, data_port=self.port + 1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for acceptor in self._acceptors:
            acceptor.close()
        for task in list(self._tasks):
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            _log.info("relay_stopped", sessions=self.counters.sessions)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    # --- accepting ---

    def _start_session(self, connection: socket.socket, address: tuple[str, int]) -> None:
        self.counters.sessions += 1
        session = RelaySession(self.counters.sessions, address, self._around)
        self._sessions.append(session)

        def over(_task: asyncio.Task[None]) -> None:
            # Also for a task that is cancelled before it begins.
            connection.close()
            self._sessions.remove(session)
            self._changed.set()

        self._spawn(self._serve(session, connection)).add_done_callback(over)

    async def _serve(self, session: RelaySession, connection: socket.socket) -> None:
        try:
            await session.run(connection)
        except Exception:  # noqa: BLE001 - a fault in one client's session must not cost the others theirs
            _log.exception("relay_session_failed", session=session.number)

    def _start_data(self, connection: socket.socket, address: tuple[str, int]) -> None:
        session = self._owner(address)
        if session is None:
            _log.info("relay_data_connection_refused", client=f"{address[0]}:{address[1]}")
            connection.close()
        else:
            session.join(connection)

    def _owner(self, address: tuple[str, int]) -> RelaySession | None:
        for session in self._sessions:
            if session.expects(*address):
                return session
        waiting = [session for session in self._sessions if session.wants_data]
        return waiting[0] if len(waiting) == 1 else None

    # --- handing over ---

    def _take_frame(self, frame: RelayedFrame) -> None:
        self.counters.frames += 1
        self._judging.run(self._on_frame, frame)

    def _take_event(self, event: RelayEvent) -> None:
        self._changed.set()
        self._telling.run(self._on_event, event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._closing:
            task.cancel()
        return task
