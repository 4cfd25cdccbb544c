"""Who listens for clients and pushes images to them."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
import socket
import sys
import threading
import time
from dataclasses import replace

from .connection import Connection
from .instrument import Image, Instrument, Json
from .methods import Methods, told_of
from .owner import Owner

DEFAULT_PORT = 8460
MAX_CLIENTS = 8

log = logging.getLogger("focusd_bridge")


class Bridge:
    """Listens, and lets clients at the instrument; a context manager.

    Args:
        instrument: It. ``open`` is called when the block is entered.
        host: Address to listen on; there is no password, so that any but loopback needs ``allowed``.
        port: Port; 0 takes a free one.
        allowed: Addresses of clients that are served beside this computer's own.
        silence_s: How long a client may be silent in the middle of a message, or read nothing of one.

    Attributes:
        port: The port it listens on, within the block.

    Raises:
        ValueError: limits that are none, or an address for everybody.
    """

    def __init__(
        self,
        instrument: Instrument,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        allowed: tuple[str, ...] = (),
        silence_s: float = 20.0,
    ) -> None:
        self.port = port
        self._instrument = instrument
        self._host = host
        self._silence_s = silence_s
        self._allowed = {str(ipaddress.ip_address(address)) for address in allowed}
        if not self._allowed and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"{host} is open to everybody: say who is allowed")
        self._clients: list[Connection] = []
        self._lock = threading.Lock()
        self._frame_ids = itertools.count(1)
        self._poll_works = True
        self._looked_at: float | None = None
        self._owner: Owner | None = None
        self._listener: socket.socket | None = None

    def __enter__(self) -> Bridge:
        low, high = self._instrument.limits_mm
        if not 0 < low < high:
            raise ValueError(f"limits_mm must be above 0, low below high, got {low} and {high}")
        owner = self._owner = Owner(self._instrument, self._poll)
        try:
            owner.call("open", self._instrument.open, self._instrument.settle_s)
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            self._listener = socket.socket(family)
            if sys.platform != "win32":
                # On Windows it would let two bridges listen on one port.
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((self._host, self.port))
            self._listener.listen(64)
            self._listener.settimeout(0.2)
        except BaseException:
            self.__exit__()
            raise
        self.port = self._listener.getsockname()[1]
        methods = Methods(self._instrument, owner, self._begin_to_watch)
        accepting = threading.Thread(target=self._accept, args=(self._listener, methods), name="accept")
        accepting.daemon = True
        accepting.start()
        log.info("listening on %s:%d", self._host, self.port)
        return self

    def __exit__(self, *_: object) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            client.cut()
        if self._owner is not None:
            self._owner.close(self._instrument.answer_s)

    @property
    def working_for_focusd(self) -> bool:
        """Whether the caller is the thread that works for focusd: for events of a shared instrument."""
        return self._owner is not None and self._owner.is_owner

    def push(self, image: Image, state: Json) -> None:
        """Tell subscribers of an image that the instrument's owner has acquired; from any thread.

        Raises:
            InstrumentError: the image has not the bytes that its shape takes.
        """
        header, pixels = told_of(image.checked(image.rows, image.columns), state)
        header["frame_id"] = str(next(self._frame_ids))
        for client in self._subscribers():
            client.tell(header, pixels)

    @property
    def subscribed(self) -> bool:
        """Whether anybody wants images."""
        return bool(self._subscribers())

    def _subscribers(self) -> list[Connection]:
        with self._lock:
            return [client for client in self._clients if client.subscribed]

    def _poll(self) -> None:
        if self._instrument.has("poll") and self.subscribed:
            self._look()
        else:
            self._looked_at = None

    def _begin_to_watch(self) -> None:
        """Look what there is before a client subscribes: that is nothing new to it."""
        if self._instrument.has("poll"):
            with contextlib.suppress(Exception):
                self._look()

    def _look(self) -> None:
        since, self._looked_at = self._looked_at, time.monotonic()
        try:
            image = self._instrument.poll()
            if image is not None and since is not None:
                state = self._instrument.get_state()
                self.push(_dated(image, state, since), state)
            self._poll_works = True
        except Exception:
            if self._poll_works:
                log.exception("the owner's images cannot be read; it is tried on")
            self._poll_works = False
            self._looked_at = None
            raise

    # --- connections ---

    def _accept(self, listener: socket.socket, methods: Methods) -> None:
        while self._listener is listener:
            try:
                connection, address = listener.accept()
            except socket.timeout:
                continue
            except OSError:
                if self._listener is not listener:
                    return
                log.exception("a connection could not be accepted")
                time.sleep(0.2)
                continue
            if not self._welcome(address[0]):
                log.warning("%s is not allowed", address[0])
                connection.close()
                continue
            name = "{}:{}".format(*address[:2])
            self._serve(Connection(connection, name, methods, self._forget, self._silence_s))

    def _welcome(self, address: str) -> bool:
        found = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return found.is_loopback or str(found) in self._allowed or str(mapped) in self._allowed

    def _serve(self, client: Connection) -> None:
        with self._lock:
            self._clients.append(client)
            # Connections that a computer left behind when it lost its power are never closed by it.
            surplus = sorted(self._clients, key=lambda each: each.heard_at)[:-MAX_CLIENTS]
        for oldest in surplus:
            oldest.cut()
        log.info("%s has connected", client.name)
        threading.Thread(target=client.run, name=client.name, daemon=True).start()

    def _forget(self, client: Connection) -> None:
        with self._lock:
            self._clients.remove(client)


def _dated(image: Image, state: Json, since: float) -> Image:
    """Date an image that was not there at the last look, unless its instrument has: earlier than it began."""
    if image.started_at is not None:
        return image
    dwell_us = {**state, **(image.state or {})}.get("dwell_time_us") or 0.0
    return replace(image, started_at=since - image.rows * image.columns * float(dwell_us) * 1e-6)
