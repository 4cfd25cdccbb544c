"""Set up the log: JSON lines for machines, colours on a terminal.

An event is a constant name and facts as keys. Facts may come from a microscope or from the network, so
whatever they hold, one event is one line of at most 8 KiB, without control characters, and in the JSON
layout one valid JSON object. What the libraries log through ``logging`` comes out the same way, as the
event ``library_logged``.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import islice
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any, Literal, TextIO

import structlog

MAX_LINE_BYTES = 8192

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Of syslog(3)."""
_CHATTY = "watchfiles"
"""Logs a line for each change in a watched folder."""
_MAX_ITEMS = 256
_FIRST_KEYS = ("timestamp", "level", "event")


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How much of an event is kept; tighter ones are tried until the line is short enough.

    A character takes at most 12 bytes (an escaped pair), so the last bounds keep any line under 8 KiB:
    6 keys x 5 strings x 16 characters and 128 characters of traceback.
    """

    characters: int
    items: int
    depth: int
    traceback: int
    keys: int


_BOUNDS = (
    _Bounds(characters=256, items=32, depth=4, traceback=4096, keys=64),
    _Bounds(characters=64, items=8, depth=2, traceback=1024, keys=32),
    _Bounds(characters=16, items=2, depth=1, traceback=128, keys=6),
)


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    layout: Literal["auto", "json", "console"] = "auto",
    stream: TextIO | None = None,
    *,
    journal: bool = False,
) -> None:
    """Send the events of focusd and of its libraries to ``stream``.

    Args:
        level: Least severe event that is written.
        layout: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        stream: Standard error when not given.
        journal: Whether systemd's journal reads the stream: it stamps each line itself, and takes a line's
            priority from a mark before it, such as ``<4>`` (sd-daemon(3)).
    """
    stream = stream or sys.stderr
    is_terminal = stream.isatty()
    if layout == "console" or (layout == "auto" and is_terminal):
        render = _console_renderer(colors=is_terminal)
    else:
        render = _json_renderer(stream)
    stamp = [] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *stamp,
            structlog.processors.format_exc_info,
            _marked(render) if journal else render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_args: _Lines(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _FromLogging)]:
        root.removeHandler(handler)
    root.addHandler(_FromLogging())
    root.setLevel(_LEVELS[level])
    logging.getLogger(_CHATTY).setLevel(max(_LEVELS[level], logging.WARNING))
    logging.captureWarnings(capture=True)


_write_lock = threading.Lock()


class _Lines:
    """Writes finished lines; the methods are structlog's level names."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            with _write_lock:
                self._stream.write(line + "\n")
                self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more; a daemon that holds a microscope does not end for that.
            return

    debug = info = warning = error = critical = msg


class _FromLogging(logging.Handler):
    """Makes events of what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        level = max(logging.DEBUG, min(record.levelno // 10 * 10, logging.CRITICAL))
        structlog.get_logger().log(
            level, "library_logged", logger=record.name, message=message, exc_info=record.exc_info
        )


def _marked(render: structlog.typing.Processor) -> structlog.typing.Processor:
    """Put the priority that systemd's journal reads before each line."""

    def mark(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        return f"<{_PRIORITIES[method]}>" + str(render(logger, method, event))

    return mark


def _json_renderer(stream: TextIO) -> structlog.typing.Processor:
    # A stream that cannot hold other characters would write its own kind of escapes, which are not JSON's.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    ascii_only = encoding.lower().replace("-", "") != "utf8"

    def render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        line = ""
        for bounds in _BOUNDS:
            text = json.dumps(_bounded(event, bounds), ensure_ascii=ascii_only, allow_nan=False)
            line = _escaped(text, _json_escape)
            if len(line.encode()) < MAX_LINE_BYTES:
                break
        return line

    return render


def _console_renderer(*, colors: bool) -> structlog.typing.Processor:
    # The plain formatter, because the pretty ones print the values of local variables.
    console = structlog.dev.ConsoleRenderer(
        colors=colors, pad_event_to=28, exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:  # noqa: ANN401 - structlog's own
        bounded = _bounded(event, _BOUNDS[0])
        shown = {key: _escaped(value, _python_escape) for key, value in bounded.items()}
        return str(console(logger, method, shown))

    return render


def _bounded(event: Mapping[str, Any], bounds: _Bounds) -> dict[str, Any]:
    """Give an event of plain values, the most telling keys first."""
    exception = event.get("exception")
    known = [key for key in _FIRST_KEYS if key in event]
    others = [key for key in event if key not in (*known, "exception")]
    cutter = _Cutter(bounds)
    plain = {cutter.key(key): cutter.plain(event[key]) for key in [*known, *others][: bounds.keys]}
    if exception is not None:
        # The end of a traceback names the error.
        plain["exception"] = _text(str(exception)[-bounds.traceback :], bounds.traceback)
    return plain


class _Cutter:
    """Turns the values of one event into what JSON can hold, and no more of them than ``bounds`` allow."""

    def __init__(self, bounds: _Bounds) -> None:
        self._bounds = bounds
        self._items_left = _MAX_ITEMS

    def key(self, key: object) -> str:
        return _text(_described(key), min(64, self._bounds.characters))

    def plain(self, value: object, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Real):
            return _number(value)
        if is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in fields(value)}
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self._container(value, depth)
        return _text(_described(value), self._bounds.characters)

    def _container(self, value: Mapping[Any, Any] | Collection[Any], depth: int) -> Any:  # noqa: ANN401 - as above
        count = min(self._bounds.items, self._items_left)
        if depth >= self._bounds.depth or (value and not count):
            # Not repr: that of nested containers may be of any length.
            return f"{type(value).__name__} of {len(value)}"
        self._items_left -= min(count, len(value))
        if isinstance(value, Mapping):
            return {self.key(key): self.plain(item, depth + 1) for key, item in islice(value.items(), count)}
        return [self.plain(item, depth + 1) for item in islice(value, count)]


def _number(value: Real) -> int | float | str | None:
    """Give numpy's numbers as Python's, and ``None`` for what JSON has no word for."""
    if isinstance(value, Integral):
        number = int(value)
        return number if number.bit_length() <= 64 else f"integer of {number.bit_length()} bits"
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def _described(value: object) -> str:
    try:
        return str(value) if isinstance(value, (str, BaseException, PurePath)) else repr(value)
    except Exception as error:  # noqa: BLE001 - a foreign __repr__ may raise anything, and logging must not
        return f"<{type(value).__name__} without a description: {type(error).__name__}>"


def _text(value: str, limit: int) -> str:
    """Cut, and replace half characters, which no encoding can hold."""
    cut = value if len(value) <= limit else value[: limit - 1] + "…"
    return cut.encode("utf-8", "replace").decode()


def _escaped(value: Any, escape: Callable[[str], str]) -> Any:  # noqa: ANN401 - only strings are changed
    """Escape what does not print: control characters, line separators, changes of direction."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else escape(c) for c in value)


def _json_escape(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def _python_escape(character: str) -> str:
    return "\n" if character == "\n" else character.encode("unicode_escape").decode()
