"""The image connections of one client: announced, connected, paired."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final

import structlog

from focusd.protocol.sharksem import HEADER_BYTES
from focusd.protocol.sharksem_parts import Part
from focusd.sources.relay.data import DataPath
from focusd.sources.relay.sockets import bound_beside

REGISTRATION: Final = "TcpRegDataPort"
LONGEST_REGISTRATION: Final = 64
_PORT: Final = struct.Struct("<I")


class DataPaths:
    """Keeps a session's image connections, of which one at most waits for its client.

    Args:
        upstream: Gives the socket of the control connection to the microscope; raises ``OSError`` when
            that is closed.
        observer: Gives what a new connection's bytes are shown to.
        timeout_s: Deadline for connecting.
        facts: Further facts for the log.
    """

    def __init__(
        self,
        upstream: Callable[[], socket.socket],
        observer: Callable[[], Callable[[memoryview], bool]],
        timeout_s: float,
        **facts: object,
    ) -> None:
        self._upstream = upstream
        self._observer = observer
        self._timeout_s = timeout_s
        self._paths: list[DataPath] = []
        self._log = structlog.get_logger(__name__).bind(**facts)

    @property
    def wants_client(self) -> bool:
        """Whether the client's image connection may still come."""
        return not any(path.has_client for path in self._paths)

    def expects(self, port: int) -> bool:
        """Tell whether the client announced an image connection from this port that has not come."""
        path = self._waiting
        return path is not None and path.client_port == port

    def announce(self, message: bytes) -> bytes:
        """Take note of a client's announcement; give it back with a port of focusd's own in it."""
        [client_port] = _PORT.unpack_from(message, HEADER_BYTES)
        if self._waiting is not None:
            self._waiting.close("announced again")
        try:
            path = self._add(client_port)
        except OSError as error:
            self._log.warning("relay_data_connection_failed", error=str(error))
            return message
        return message[:HEADER_BYTES] + _PORT.pack(path.upstream_port) + message[HEADER_BYTES + _PORT.size :]

    def to_connect(self, answer: Part) -> DataPath | None:
        """Give what has to be connected before this answer is passed back."""
        path = self._waiting
        accepted = answer.data[HEADER_BYTES:] == bytes(_PORT.size)
        return path if accepted and path is not None and path.is_fresh else None

    def join(self, connection: socket.socket) -> DataPath | None:
        """Take an image connection of the client; give what has to be connected for it.

        Raises:
            OSError: there is no way on from here.
        """
        path = self._waiting
        # In the firewall-friendly mode the microscope decides whether it takes one that nobody announced.
        unannounced = path is None
        if path is None:
            path = self._add(None)
        path.join(connection)
        self._log.info("relay_data_connection_paired", announced=not unannounced)
        return path if unannounced else None

    async def connect(self, path: DataPath) -> None:
        """Connect to the microscope; without success the path is closed."""
        try:
            host, port, *rest = self._upstream().getpeername()
            await path.connect((host, port + 1, *rest), self._timeout_s)
        except OSError as error:
            problem = str(error) or type(error).__name__
            self._log.warning("relay_data_connection_failed", error=problem)
            path.close("no connection")

    def close(self) -> None:
        """Close all of them."""
        for path in list(self._paths):
            path.close()

    @property
    def _waiting(self) -> DataPath | None:
        return next((path for path in self._paths if not path.has_client), None)

    def _add(self, client_port: int | None) -> DataPath:
        path = DataPath(
            bound_beside(self._upstream()), client_port, observe=self._observer(), on_closed=self._closed
        )
        self._paths.append(path)
        return path

    def _closed(self, path: DataPath, reason: str) -> None:
        self._paths.remove(path)
        self._log.info("relay_data_connection_closed", reason=reason)
