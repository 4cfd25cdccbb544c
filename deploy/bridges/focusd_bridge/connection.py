"""One client: a thread reads and answers, a second one pushes images once it has subscribed."""

from __future__ import annotations

import collections
import contextlib
import logging
import socket
import struct
import threading
import time
from typing import Callable

from .errors import BridgeError, GarbageError, InstrumentError, RequestError
from .instrument import Json, Pixels
from .messages import MAX_HEADER_BYTES, decode, encode, request
from .methods import Methods

FRAMES_KEPT = 2
"""Pushed images that wait for one client; the oldest go first."""

log = logging.getLogger("focusd_bridge")


class Connection:
    """One connection.

    Args:
        connection: Its socket.
        name: The client's address, for the log.
        methods: What carries out its requests.
        on_gone: Called once when the connection is over.
        silence_s: How long the client may be silent in the middle of a message, or read nothing of one.
    """

    def __init__(
        self,
        connection: socket.socket,
        name: str,
        methods: Methods,
        on_gone: Callable[[Connection], None],
        silence_s: float,
    ) -> None:
        self.name = name
        self.heard_at = time.monotonic()
        self._methods = methods
        self._on_gone = on_gone
        self._socket = connection
        self._silence_s = silence_s
        self._sending = threading.Lock()
        self._frames: collections.deque[tuple[Json, Pixels]] = collections.deque(maxlen=FRAMES_KEPT)
        self._news = threading.Condition()
        self._subscribed = False
        self._gone = False
        self._dropped = 0
        connection.settimeout(silence_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def subscribed(self) -> bool:
        """Whether images are wanted."""
        return self._subscribed and not self._gone

    def run(self) -> None:
        """Serve until it goes."""
        why = "it has closed"
        try:
            while True:
                self._take(decode(self._message()))
        except GarbageError as error:
            why = str(error)
            with contextlib.suppress(OSError):
                self._fail(None, error)
        except EOFError:
            pass
        except OSError as error:
            why = str(error)
        finally:
            self.cut()
            self._methods.forget(self)
            self._on_gone(self)
            log.info("%s is gone: %s; %d images dropped", self.name, why, self._dropped)

    def cut(self) -> None:
        """Break the connection off."""
        with self._news:
            self._gone = True
            self._news.notify()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _subscribe(self) -> None:
        if not self._subscribed:
            self._subscribed = True
            threading.Thread(target=self._push, name=f"images to {self.name}", daemon=True).start()

    def tell(self, header: Json, pixels: Pixels) -> None:
        """Put an image in line."""
        with self._news:
            self._dropped += len(self._frames) == FRAMES_KEPT
            self._frames.append((header, pixels))
            self._news.notify()

    def _push(self) -> None:
        while True:
            with self._news:
                while not self._frames and not self._gone:
                    self._news.wait()
                if self._gone:
                    return
                header, pixels = self._frames.popleft()
            try:
                self._send({"method": "frame", "params": header}, pixels)
            except OSError:
                self.cut()
                return

    def _message(self) -> bytes:
        (length,) = struct.unpack(">I", self._exactly(4, may_wait=True))
        if not 0 < length <= MAX_HEADER_BYTES:
            raise GarbageError(f"a header of {length} bytes is announced, it must be 1 to {MAX_HEADER_BYTES}")
        return self._exactly(length, may_wait=False)

    def _exactly(self, count: int, *, may_wait: bool) -> bytes:
        data = b""
        until = time.monotonic() + self._silence_s
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except socket.timeout:
                if may_wait and not data:
                    until = time.monotonic() + self._silence_s
                    continue
                raise
            if not piece:
                raise EOFError
            if time.monotonic() > until and not (may_wait and not data):
                raise OSError("it takes too long over a message")
            data += piece
        self.heard_at = time.monotonic()
        return data

    def _take(self, header: Json) -> None:
        identification = header.get("id")
        try:
            method, params = request(header)
            if "id" not in header:
                return
            result, payload = self._methods.answer(self, method, params)
            pieces = encode({"id": identification, "result": result}, payload)
            if method == "subscribe":
                self._subscribe()
        except BridgeError as error:
            self._fail(None if isinstance(error, RequestError) else identification, error)
        except Exception as error:
            log.exception("%s", header.get("method"))
            self._fail(identification, InstrumentError(f"{type(error).__name__}: {error}"))
        else:
            self._write(pieces)

    def _fail(self, identification: object, error: BridgeError) -> None:
        self._send({"id": identification, "error": {"code": error.code, "message": str(error)[:300]}})

    def _send(self, header: Json, payload: Pixels = b"") -> None:
        self._write(encode(header, payload))

    def _write(self, pieces: list[Pixels]) -> None:
        step = 1 << 18
        with self._sending:
            for piece in pieces:
                for start in range(0, len(piece), step):
                    self._socket.sendall(piece[start : start + step])
