"""Changes under a folder as the system tells them: what has changed, so that nothing need be waited for.

They are a help and no more. Systems lose them, and network shares have none; what counts is the listing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

import structlog

_log = structlog.get_logger(__name__)

DEBOUNCE_MS = 200
"""Changes that come in a row are told together, at latest after so long ..."""
STEP_MS = 30
"""... or when there has been none for so long."""
IDLE_MS = 500
"""How often the listening thread looks round while nothing happens."""
MAX_PATHS = 10_000
"""When more have changed the folder is listed instead."""
CLOSE_S = 2.0


class Notices:
    """Listens for changes on a thread of its own, while it is used as ``async with``.

    Args:
        recursive: Whether subfolders count.
    """

    def __init__(self, *, recursive: bool) -> None:
        self._recursive = recursive
        self._paths: set[str] = set()
        self._is_vague = False
        self._changed = asyncio.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> Notices:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def listen(self, folder: str) -> None:
        """Listen for changes of a folder; not when listening already."""
        if self._thread is None:
            self._stop = threading.Event()
            arguments = (folder, self._stop, asyncio.get_running_loop())
            self._thread = threading.Thread(
                target=self._run, args=arguments, name="focusd-folder-notices", daemon=True
            )
            self._thread.start()

    async def stop(self) -> None:
        """Listen no more."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            await asyncio.to_thread(thread.join, CLOSE_S)

    async def wait(self, timeout_s: float) -> None:
        """Wait until something has changed, at most so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def take(self) -> tuple[set[str], bool]:
        """Give the paths that have changed since the last time, and whether there may be others."""
        taken = self._paths, self._is_vague
        self._paths, self._is_vague = set(), False
        self._changed.clear()
        return taken

    def _run(self, folder: str, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        from watchfiles import watch  # noqa: PLC0415 - a compiled library that only a watched folder needs

        is_first = True
        try:
            for changes in watch(
                folder,
                watch_filter=None,
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                stop_event=stop,
                rust_timeout=IDLE_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                force_polling=False,
                recursive=self._recursive,
                ignore_permission_denied=True,
            ):
                # What changed before the system began to listen was told to nobody.
                _tell(loop, self._note, [path for _, path in changes], is_first)
                is_first = False
        except Exception as error:  # noqa: BLE001 - whatever fails, the folder is listed at intervals all the same
            _log.warning("folder_notices_lost", path=folder, error=str(error))

    def _note(self, paths: Iterable[str], is_vague: bool) -> None:
        self._paths.update(paths)
        if len(self._paths) > MAX_PATHS:
            self._paths.clear()
            is_vague = True
        self._is_vague = self._is_vague or is_vague
        if self._paths or self._is_vague:
            self._changed.set()


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        # The loop has been closed meanwhile: nobody is left to be told.
        return
