"""A client's image connection and the one to the microscope that feeds it.

Bytes go from the kernel into one buffer and from there to the kernel again; folding copies them once more
into the frame. Nothing is read before all that was read has been sent, so a client that does not read
stops the microscope's stream, as it would without focusd. So does, for some seconds, whoever judges the
frames when too many of them wait; then the bytes flow on.

On two cores shared with both peers this costs the processor a fifth more than a plain forwarder that folds
nothing, so what is left to gain is small. Tried and no faster: splicing between the sockets (the copy for
folding then costs more than was saved), receiving straight into the frame's cold memory, a thread for each
direction, fewer wake-ups through SO_RCVLOWAT, buffers of 2 and 4 MiB; buffers of 256 KiB cost a quarter more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

BUFFER_BYTES: Final = 1 << 19
REST_S: Final = 0.005
LONGEST_REST_S: Final = 5.0
"""A microscope ends a session whose images are not read for about 10 s."""
READS_PER_TURN: Final = 4
"""Then it is the turn of everything else that waits for the event loop."""


class Pump:
    """Carries bytes from one socket to another.

    Args:
        source: Read, non-blocking.
        sink: Written, non-blocking.
        buffer_bytes: The most that is under way.
        on_end: Called once, with the reason, when there is no more to come or nowhere to go.
        observe: Shown what has been read, after as much as possible has been sent; tells whether to rest
            before more is read, and is asked again with nothing; must not raise.
    """

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        *,
        buffer_bytes: int,
        on_end: Callable[[str], None],
        observe: Callable[[memoryview], bool] | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._on_end = on_end
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._unsent = self._buffer[:0]
        self._rest: asyncio.TimerHandle | None = None
        self._is_patient = True
        self._loop.add_reader(source, self._on_readable)

    def close(self) -> None:
        """Stop; before the sockets are closed."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)

    def _on_readable(self) -> None:
        for _ in range(READS_PER_TURN):
            if not self._carry():
                break

    def _carry(self) -> bool:
        """Read once and send; tell whether more may be done at once."""
        try:
            count = self._source.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._on_end(str(error))
            return False
        if not count:
            self._on_end("closed")
            return False
        read = self._unsent = self._buffer[:count]
        problem = self._send()
        rests = self._observe is not None and self._observe(read)
        if problem:
            self._on_end(problem)
            return False
        if self._unsent:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._on_writable)
        self._is_patient = self._is_patient or not rests
        if rests and self._is_patient:
            self._loop.remove_reader(self._source)
            self._look_again(self._loop.time() + LONGEST_REST_S)
            return False
        return not self._unsent

    def _look_again(self, until: float) -> None:
        self._rest = self._loop.call_later(REST_S, self._after_rest, until)

    def _after_rest(self, until: float) -> None:
        """Go on when there is room for another frame, or when that has taken too long."""
        self._rest = None
        if self._observe is not None and self._observe(self._buffer[:0]):
            self._is_patient = self._loop.time() < until
            if self._is_patient:
                self._look_again(until)
                return
        if not self._unsent:
            self._loop.add_reader(self._source, self._on_readable)

    def _on_writable(self) -> None:
        problem = self._send()
        if problem:
            self._on_end(problem)
        elif not self._unsent:
            self._loop.remove_writer(self._sink)
            if self._rest is None:
                self._loop.add_reader(self._source, self._on_readable)

    def _send(self) -> str:
        """Send what goes; give the reason when nothing ever will."""
        try:
            self._unsent = self._unsent[self._sink.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            return ""
        except OSError as error:
            return str(error)
        return ""


class DataPath:
    """A pair of image connections, one of them still to come at first.

    Args:
        upstream: A socket for the microscope, bound to a port of its own.
        client_port: The port that the client announced, ``None`` when it announced none.
        observe: Shown what the microscope sends, and tells whether to rest, as a ``Pump`` has it.
        on_closed: Called when the path is closed, with the reason.
    """

    def __init__(
        self,
        upstream: socket.socket,
        client_port: int | None,
        *,
        observe: Callable[[memoryview], bool],
        on_closed: Callable[[DataPath, str], None],
    ) -> None:
        self.client_port = client_port
        self._upstream = upstream
        self._observe = observe
        self._on_closed = on_closed
        self._client: socket.socket | None = None
        self._connecting = False
        self._connected = False
        self._closed = False
        self._pumps: list[Pump] = []

    @property
    def has_client(self) -> bool:
        """Whether the client's connection has come."""
        return self._client is not None

    @property
    def is_fresh(self) -> bool:
        """Whether nobody has begun to connect it to the microscope."""
        return not (self._connecting or self._connected)

    @property
    def upstream_port(self) -> int:
        """The port that the microscope is told."""
        port: int = self._upstream.getsockname()[1]
        return port

    async def connect(self, address: tuple[Any, ...], timeout_s: float) -> None:
        """Connect to the microscope.

        Raises:
            OSError: no connection.
            TimeoutError: no connection in time.
        """
        self._connecting = True
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(self._upstream, address)
        finally:
            self._connecting = False
            if self._closed:
                self._upstream.close()
        self._connected = True
        self._start()

    def join(self, client: socket.socket) -> None:
        """Take the client's connection."""
        self._client = client
        self._start()

    def close(self, reason: str = "closed") -> None:
        """Close both connections; harmless when they are."""
        if self._closed:
            return
        self._closed = True
        for pump in self._pumps:
            pump.close()
        if not self._connecting:
            # Otherwise the event loop still looks after it.
            self._upstream.close()
        if self._client is not None:
            self._client.close()
        self._on_closed(self, reason)

    def _start(self) -> None:
        """Carry bytes as soon as there are both connections."""
        if self._client is None or not self._connected or self._closed:
            return
        down = Pump(
            self._upstream,
            self._client,
            buffer_bytes=BUFFER_BYTES,
            on_end=lambda reason: self.close(f"microscope: {reason}"),
            observe=self._observe,
        )
        # A client has nothing to say here; reading shows when it goes.
        up = Pump(
            self._client,
            self._upstream,
            buffer_bytes=4096,
            on_end=lambda reason: self.close(f"client: {reason}"),
        )
        self._pumps = [down, up]
