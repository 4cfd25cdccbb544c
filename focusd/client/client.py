"""The verbs of an acquisition script."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Unpack
from urllib.parse import urlsplit

import aiohttp

from focusd.client.exchange import CONNECT_S, SILENCE_S, Exchange
from focusd.client.failures import ClientError, NotReadyError
from focusd.client.frames import Conditions, FrameLike, read_conditions, read_frame
from focusd.client.hold import Hold
from focusd.client.results import (
    Checkpoint,
    Judgement,
    PredictedFocus,
    Readiness,
    Refocus,
    Status,
    read_checkpoint,
    read_judgement,
    read_predictions,
    read_readiness,
    read_refocus,
    read_status,
)

DEFAULT_URL = "http://127.0.0.1:8470"
ANSWER_S = 10.0
"""For the daemon to answer what it need not wait for; added to every wait."""
LONGEST_POLL_S = 30.0
UNIX = "unix:"


class Client:
    """Talks to one daemon for the length of an ``async with`` block.

    Every verb raises ``ClientError`` or one of its kinds, listed in ``focusd.client.failures``, and nothing
    else; and may be cancelled at any time.

    Args:
        url: Where the daemon listens; ``unix:`` and a path for a socket file.
        token: What the daemon wants to be shown, if anything (``http.token_file``).
        patience_s: How long the daemon may be away, e.g. starting again, before ``UnreachableError``.
        silence_s: How long it may say nothing before it is asked again over a new connection.
        tls: Whose certificates to trust with ``https``; by default those that this computer trusts.

    Raises:
        ValueError: the URL or the token cannot be used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        patience_s: float = 20.0,
        silence_s: float = SILENCE_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        url = "http://localhost" if self._socket else url
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError(f"the URL must look like {DEFAULT_URL}, got {url!r}")
        self._url = url.rstrip("/") + "/"
        self._headers = {"Accept": "application/json", "User-Agent": "focusd-client"}
        if token is not None:
            if not all("!" <= character <= "~" for character in token.strip()):
                raise ValueError("a token has no spaces, and no characters but printable ASCII")
            self._headers["Authorization"] = f"Bearer {token.strip()}"
        self._tls = tls
        self._patience_s = patience_s
        self._silence_s = silence_s
        self._http: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Where the daemon listens."""
        return self._url

    async def __aenter__(self) -> Client:
        """Make ready; nothing is sent yet."""
        self._http = aiohttp.ClientSession(
            self._url,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_S),
            connector=self._connector(),
        )
        return self

    def _connector(self) -> aiohttp.BaseConnector:
        if self._socket:
            return aiohttp.UnixConnector(self._socket)
        return aiohttp.TCPConnector(ssl=self._tls or True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def judge(
        self,
        frame: FrameLike,
        *,
        wait_for_focus: bool = True,
        timeout_s: float = 600.0,
        shape: tuple[int, int] | None = None,
        dtype: str = "uint8",
        **conditions: Unpack[Conditions],
    ) -> Judgement:
        """Have a frame judged.

        Args:
            frame: A 2-D array of 8 or 16 bit, the path or the bytes of a TIFF, PNG, JPEG or BMP file, or bare
                pixels as bytes with their ``shape``.
            wait_for_focus: Answer when the refocus that the frame leads to has ended. The script takes no
                frame meanwhile, so that the lens may move. If it cannot wait, ``refocus.mode`` should be
                ``checkpoint``.
            timeout_s: Longest wait for the refocus.
            shape: Rows and columns of bare pixels.
            dtype: Theirs, ``uint8`` or ``uint16`` (little-endian).
            conditions: What is known of the frame.

        Raises:
            FrameError: it is no frame; nothing was sent.
            InvalidRequestError: focusd cannot judge it.
            OSError: the file cannot be read.
        """
        content = await asyncio.to_thread(read_frame, frame, shape, dtype)
        query = content.said | read_conditions(conditions)
        if wait_for_focus:
            query |= {"wait": "refocus", "timeout_s": f"{timeout_s:.3f}"}
        wait_s = timeout_s if wait_for_focus else 0.0
        return read_judgement(
            await self._exchange().ask(
                "POST", "v1/frames", query=query, body=content, timeout_s=wait_s + self._margin_s
            )
        )

    async def checkpoint(
        self, position: tuple[float, float] | None = None, *, timeout_s: float = 600.0
    ) -> Checkpoint:
        """Say that acquisition is between two tiles, and wait until what is pending has been done.

        The answer also tells of a refocus that came by itself since the last one that was told of.

        Args:
            position: Where the next tile is, x and y of the stage in mm: the lens may go to the focus
                predicted for it. Not if tiles are to be taken again first: then say where the first is.
            timeout_s: Longest wait.

        Raises:
            LeasedError: somebody scans.
            NotConnectedError: there is no microscope.
            NotReadyError: it took longer than ``timeout_s``; the refocus goes on.
        """
        query = {"timeout_s": f"{timeout_s:.3f}"}
        body = {"position": _position(position)} if position is not None else None
        return read_checkpoint(
            await self._exchange().ask(
                "POST", "v1/checkpoint", query=query, body=body, timeout_s=timeout_s + self._margin_s
            )
        )

    async def predict_focus(
        self, positions: Iterable[tuple[float, float]], *, timeout_s: float = 30.0
    ) -> list[PredictedFocus]:
        """Say where focus is expected now, at places of the stage in mm; at most 1,000 at a time.

        Raises:
            ProblemError: no focus was found yet under the present conditions.
        """
        body = {"positions": [_position(position) for position in positions]}
        return read_predictions(
            await self._exchange().ask("POST", "v1/focus-surface/predict", body=body, timeout_s=timeout_s)
        )

    async def forget_focus_surface(self, *, timeout_s: float = 30.0) -> None:
        """Forget where focus was found: the specimen is another."""
        await self._exchange().ask("DELETE", "v1/focus-surface", timeout_s=timeout_s)

    def hold(
        self, holder: str = "acquisition", *, expires_in_s: float = 120.0, timeout_s: float = 600.0
    ) -> Hold:
        """Keep the lens still for the length of an ``async with`` block; see ``Hold``."""
        return Hold(self._exchange(), holder, expires_in_s=expires_in_s, timeout_s=timeout_s)

    async def wait_ready(self, *, timeout_s: float = 600.0) -> Readiness:
        """Wait until acquisition may go on: no refocus runs or is about to, and the microscope is there.

        Also waits for a daemon that is being started.

        Raises:
            NotReadyError: it may not after ``timeout_s``; says why.
            UnreachableError: there is no daemon after ``timeout_s``.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        exchange = self._exchange(patience_s=timeout_s)
        while True:
            left_s = max(0.0, deadline - clock())
            query = {"timeout_s": f"{min(left_s, LONGEST_POLL_S):.3f}"}
            try:
                return read_readiness(
                    await exchange.ask("GET", "v1/ready", query=query, timeout_s=left_s + ANSWER_S)
                )
            except NotReadyError:
                if clock() >= deadline:
                    raise

    async def refocus(self, *, timeout_s: float = 600.0) -> Refocus:
        """Have focus looked for now, and wait for the end; one that takes longer has ``result`` ``None``.

        Raises:
            BusyError: a refocus is queued or running.
            PausedError, LeasedError, NotConnectedError: nothing is moved.
        """
        query = {"wait": "true", "timeout_s": f"{timeout_s:.3f}"}
        return read_refocus(
            await self._exchange().ask(
                "POST", "v1/refocuses", query=query, timeout_s=timeout_s + self._margin_s
            )
        )

    async def status(self, *, timeout_s: float = 30.0) -> Status:
        """Give the daemon's state at this moment."""
        return read_status(await self._exchange().ask("GET", "v1/status", timeout_s=timeout_s))

    @property
    def _margin_s(self) -> float:
        """Beyond what the daemon itself waits for."""
        return self._patience_s + ANSWER_S

    def _exchange(self, *, patience_s: float | None = None) -> Exchange:
        if self._http is None:
            raise ClientError("the client is used outside of its `async with` block")
        patience_s = self._patience_s if patience_s is None else patience_s
        return Exchange(self._http, self._url, patience_s=patience_s, silence_s=self._silence_s)


def _position(position: tuple[float, float]) -> dict[str, float]:
    x_mm, y_mm = position
    return {"x_mm": float(x_mm), "y_mm": float(y_mm)}
