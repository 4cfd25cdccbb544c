"""The log: whatever an event holds, one short line of valid JSON comes out."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from focusd import logs
from focusd.frame import StagePosition
from focusd.records import Verdict

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=600)


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Give back the logging of the test runner."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    root.handlers[:] = handlers
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def logged(**facts: object) -> dict[str, Any]:
    """Log one event and parse its line, as strictly as the strictest reader would."""
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    structlog.get_logger().info("thing_happened", **facts)
    return strictly_parsed(stream.getvalue())


def strictly_parsed(output: str) -> dict[str, Any]:
    """Check that ``output`` is one line within the bounds, and give its object."""
    assert output.endswith("\n")
    assert output[:-1].isprintable()
    assert len(output.encode()) <= logs.MAX_LINE_BYTES
    event = json.loads(output, parse_constant=pytest.fail)
    assert isinstance(event, dict)
    return event


def test_an_event_is_one_json_object() -> None:
    """Event, level, time and facts are keys of one object, the name and facts unchanged."""
    event = logged(working_distance_mm=9.004, scans=3, label="µm", detector=None, ok=True)

    assert event.pop("level") == "info"
    stamp = datetime.fromisoformat(event.pop("timestamp"))
    assert stamp.utcoffset() == timedelta(0)
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 10
    assert event == {
        "event": "thing_happened",
        "working_distance_mm": 9.004,
        "scans": 3,
        "label": "µm",
        "detector": None,
        "ok": True,
    }


def test_timestamps_are_left_to_the_journal() -> None:
    """The journal stamps lines itself, so none is written twice."""
    stream = io.StringIO()
    logs.configure("info", "json", stream, journal=True)

    structlog.get_logger().info("thing_happened")

    line = stream.getvalue().removeprefix("<6>")
    assert strictly_parsed(line) == {"level": "info", "event": "thing_happened"}


@pytest.mark.parametrize("layout", ["json", "console"])
def test_the_journal_is_told_how_severe_a_line_is(layout: Literal["json", "console"]) -> None:
    """``journalctl -p warning`` finds warnings and worse, also those of libraries."""
    stream = io.StringIO()
    logs.configure("debug", layout, stream, journal=True)
    log = structlog.get_logger()

    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    log.critical("e")
    logging.getLogger("a.library").warning("f")
    try:
        raise ValueError("g")  # noqa: TRY301 - an exception to log
    except ValueError:
        log.exception("g")

    lines = stream.getvalue().splitlines()
    marks = [line[:3] for line in lines if line.startswith("<")]
    assert marks == ["<7>", "<6>", "<4>", "<3>", "<2>", "<4>", "<3>"]


@settings(deadline=None, max_examples=150)
@given(texts=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=8))
def test_any_text_gives_one_short_valid_line(texts: dict[str, str]) -> None:
    """No text in a value or a key breaks out of its line or makes it long."""
    event = logged(foreign=texts, **{f"k{i}": text for i, text in enumerate(texts.values())})

    assert event["event"] == "thing_happened"


@settings(deadline=None, max_examples=150)
@given(
    facts=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=30,
    )
)
def test_any_nested_value_gives_valid_json(facts: object) -> None:
    """Non-finite numbers, bytes and keys that are no strings are all written as JSON."""
    logged(facts=facts)


@pytest.mark.parametrize("character", ["\x00", "\U000e0001", '"', "\\", "µ", "x"])
def test_the_worst_line_is_short(character: str) -> None:
    """Many long facts, deeply nested, are cut until the line fits."""
    nested: Any = character * 5000
    for depth in range(6):
        nested = {f"{character * 100}{depth}{i}": nested for i in range(40)} if depth < 2 else [nested] * 40

    event = logged(**{f"{character * 80}{i}": nested for i in range(100)})

    assert event["event"] == "thing_happened"


def test_foreign_text_is_cut() -> None:
    """A string keeps its first 255 characters and an ellipsis."""
    event = logged(reason="x" * 10_000)

    assert event["reason"] == "x" * 255 + "…"


def test_numbers_that_json_lacks_are_null() -> None:
    """NaN and the infinities would make the line invalid JSON."""
    event = logged(a=math.nan, b=math.inf, c=-math.inf, d=np.float32(math.nan))

    assert [event[key] for key in "abcd"] == [None] * 4


def test_values_of_the_program_are_readable() -> None:
    """Enums, dataclasses, numpy numbers, paths and errors are written as what they mean."""

    class Mode(Enum):
        FAST = 1

    @dataclass(frozen=True, slots=True)
    class Outer:
        position: StagePosition
        verdict: Verdict

    event = logged(
        verdict=Verdict.IN_FOCUS,
        mode=Mode.FAST,
        outer=Outer(StagePosition(x_mm=1.5), Verdict.SUSPECT),
        count=np.uint16(7),
        score=np.float32(0.5),
        path=Path("state/focusd.db"),
        error=OSError(28, "No space left on device"),
        pair=(1, 2),
        huge=10**5000,
    )

    assert event["verdict"] == "in_focus"
    assert event["mode"] == 1
    assert event["outer"]["position"]["x_mm"] == 1.5
    assert event["outer"]["verdict"] == "suspect"
    assert (event["count"], event["score"], event["pair"]) == (7, 0.5, [1, 2])
    assert event["path"] == "state/focusd.db"
    assert event["error"] == "[Errno 28] No space left on device"
    assert event["huge"] == "integer of 16610 bits"


def test_a_value_that_cannot_describe_itself_does_not_stop_the_log() -> None:
    """An object whose repr raises is named by its type."""

    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert logged(shy=Shy())["shy"] == "<Shy without a description: RuntimeError>"


def test_a_traceback_keeps_its_end() -> None:
    """However long a traceback is, the line names the error."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    try:
        float("9" * 20_000 + "\x1b[31m the bottom")
    except ValueError:
        structlog.get_logger().exception("fall_ended")

    exception = strictly_parsed(stream.getvalue())["exception"]
    assert exception.endswith("x1b[31m the bottom'")
    assert len(exception) > 1000


def test_what_libraries_log_comes_out_the_same_way() -> None:
    """A line of ``logging`` becomes an event with the library's name, its text as a fact."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    logging.getLogger("aiohttp.server").warning("bad request from %s", "evil\nhost")
    logging.getLogger("asyncio").debug("not at this level")

    event = strictly_parsed(stream.getvalue())
    assert (event["event"], event["level"]) == ("library_logged", "warning")
    assert (event["logger"], event["message"]) == ("aiohttp.server", "bad request from evil\nhost")


def test_the_watching_of_folders_is_not_logged_change_by_change() -> None:
    """Its library would write a line for each; what goes wrong in it is logged."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    logging.getLogger("watchfiles.main").info("1 change detected")
    logging.getLogger("watchfiles.main").warning("no more watches")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["no more watches"]


def test_a_library_error_keeps_its_traceback() -> None:
    """``logger.exception`` of a library carries the traceback along."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    try:
        dict[str, int]()["lost"]
    except KeyError:
        logging.getLogger("aiohttp").exception("handler failed")

    assert strictly_parsed(stream.getvalue())["exception"].endswith("KeyError: 'lost'")


@pytest.mark.parametrize("level", [1, 25, 70])
def test_levels_of_a_librarys_own_are_taken(level: int) -> None:
    """A level between or beyond the usual ones does not stop the log."""
    stream = io.StringIO()
    logs.configure("debug", "json", stream)

    logging.getLogger("odd").setLevel(1)
    logging.getLogger().setLevel(1)
    logging.getLogger("odd").log(level, "hello")

    assert strictly_parsed(stream.getvalue())["message"] == "hello"


def test_a_badly_formed_library_message_is_still_logged() -> None:
    """A library's own formatting mistake shows its template."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    # The test runner's own handlers would fail on it, so only the one under test is left.
    logging.getLogger().handlers[:-1] = []
    logging.getLogger("sloppy").error("%d frames", "many")

    assert strictly_parsed(stream.getvalue())["message"] == "%d frames"


def test_python_warnings_are_events() -> None:
    """A warning does not print its own lines between the JSON ones."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure("info", "json", stream)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)

    assert "old way" in strictly_parsed(stream.getvalue())["message"]


def test_less_severe_events_are_left_out() -> None:
    """Level ``warning`` drops what is less."""
    stream = io.StringIO()
    logs.configure("warning", "json", stream)

    structlog.get_logger().info("small_thing")
    structlog.get_logger().warning("big_thing")

    assert strictly_parsed(stream.getvalue())["event"] == "big_thing"


def test_configuring_twice_writes_once() -> None:
    """A second call replaces the first."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("info", "json", first)
    logs.configure("info", "json", second)

    logging.getLogger("lib").warning("once")

    assert first.getvalue() == ""
    assert strictly_parsed(second.getvalue())["message"] == "once"


def test_bound_context_is_part_of_each_event() -> None:
    """What is bound for a run, such as its id, is on every line of it."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)

    with structlog.contextvars.bound_contextvars(refocus_id=7):
        structlog.get_logger().info("thing_happened")

    assert strictly_parsed(stream.getvalue())["refocus_id"] == 7


def test_a_terminal_gets_colours_and_a_pipe_json() -> None:
    """``auto`` looks at where the log goes."""
    terminal, pipe = Terminal(), io.StringIO()

    logs.configure("info", "auto", terminal)
    structlog.get_logger().info("thing_happened", scans=3)
    logs.configure("info", "auto", pipe)
    structlog.get_logger().info("thing_happened", scans=3)

    assert "\x1b[" in terminal.getvalue()
    assert "thing_happened" in terminal.getvalue()
    assert strictly_parsed(pipe.getvalue())["scans"] == 3


def test_foreign_text_cannot_steer_the_terminal() -> None:
    """Escape sequences and line breaks in a fact are shown, not carried out."""
    stream = io.StringIO()
    logs.configure("info", "console", stream)

    structlog.get_logger().info("thing_happened", title="\x1b]0;owned\x07\nlevel=error \u202e")

    assert stream.getvalue()[:-1].isprintable()
    assert "owned" in stream.getvalue()


def test_the_console_shows_tracebacks_in_lines() -> None:
    """People read a traceback in lines, still without control characters."""
    stream = io.StringIO()
    logs.configure("info", "console", stream)

    try:
        float("bad \x1b[31m thing")
    except ValueError:
        structlog.get_logger().exception("thing_failed")

    lines = stream.getvalue().splitlines()
    assert r"ValueError: could not convert string to float: 'bad \x1b[31m thing'" in lines
    assert all(line.isprintable() for line in lines)


def test_a_stream_without_utf8_gets_ascii() -> None:
    """In the C locale the line is still JSON."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    logs.configure("info", "json", stream)

    structlog.get_logger().info("thing_happened", unit="µm")

    assert json.loads(raw.getvalue())["unit"] == "µm"


def test_a_closed_stream_does_not_end_the_daemon() -> None:
    """When nobody reads the log any more, logging goes on without effect."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    stream.close()

    structlog.get_logger().info("thing_happened")


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream the log goes to standard error of the moment of the call."""
    logs.configure("info", "json")

    structlog.get_logger().info("thing_happened")

    captured = capsys.readouterr()
    assert strictly_parsed(captured.err)["event"] == "thing_happened"
    assert captured.out == ""
    assert sys.stderr is not None
