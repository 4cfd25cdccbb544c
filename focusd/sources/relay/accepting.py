"""Accepting connections in the event loop's own turn.

A task that awaits the next connection may be cancelled with one in its hands, which nobody closes then; and
``asyncio.Server`` leaks those that come while it closes (Python 3.11).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from focusd.microscope.tcp import tune

_PAUSE_S: Final = 0.1

Start: TypeAlias = Callable[[socket.socket, tuple[str, int]], None]

_log = structlog.get_logger(__name__)


class Acceptor:
    """Hands over each connection that comes to a listening socket, until it is closed.

    Args:
        listener: Listens, non-blocking; closed with the acceptor.
        start: Takes a connection and where it is from; may raise ``OSError``, then it is closed.
    """

    def __init__(self, listener: socket.socket, start: Start) -> None:
        self._listener = listener
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            # It has gone again.
            return
        except OSError as error:
            # No socket is left, for one. The connection stays where it is: to look again at once is no use.
            _log.warning("relay_connection_not_accepted", reason=str(error))
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_PAUSE_S, self._listen)
            return
        try:
            connection.setblocking(False)
            tune(connection)
            self._start(connection, (str(address[0]), int(address[1])))
        except OSError as error:
            _log.info("relay_connection_not_accepted", reason=str(error))
            connection.close()
