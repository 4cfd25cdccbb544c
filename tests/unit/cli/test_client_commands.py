"""The commands that talk to a running daemon, against one that only pretends."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Focusd
from tests.unit.cli.fake_daemon import (
    SCANS,
    STATUS,
    FakeDaemon,
    refocus_record,
)

COMMANDS = [("status",), ("refocus",), ("history",), ("history", 7), ("pause",), ("resume",)]
FILAMENT = "lanthanum-hexaboride"
"""An access token."""


@pytest.fixture
def url_of_nobody() -> str:
    """Give an address of the loopback interface at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# --- status ---


def test_status_shows_the_daemon_on_one_screen(daemon: FakeDaemon, focusd: Focusd) -> None:
    """State, link, working distance, verdict, baseline and the last refocus can all be read."""
    result = focusd("status", "--url", daemon.url)

    assert result.exit_code == 0
    assert result.stderr == ""
    for words in (
        "MONITORING",
        "TESCAN MIRA at 127.0.0.1:8300",
        "answers in 1.2 ms",
        "9.0031 mm, set to 9.0030 mm, limits 4 to 30 mm",
        "in focus",
        "0.981 of the baseline",
        "band_ratio 0.1258",
        "refocused, +3.0 µm, sharpness x 2.00, 3 scans, 4.2 s",
        "40 frames judged, 1 not judgeable; 1 refocus, 0 failed",
    ):
        assert words in result.stdout
    assert len(result.stdout.splitlines()) < 24


def test_status_tells_who_else_is_at_the_microscope(daemon: FakeDaemon, focusd: Focusd) -> None:
    """The relay's clients, those who hold the lens still, and the refocus that waits for them."""
    daemon.status["relay"] = {
        "address": "127.0.0.1:8310",
        "clients": 2,
        "is_scanning": True,
        "frames": 41,
        "frames_dropped": 0,
        "scans_held": 3,
        "holds_timed_out": 1,
    }
    daemon.status["scan_leases"] = [{"lease_id": "a1", "holder": "montage.py", "expires_in_s": 12.4}]
    daemon.status["pending_refocus"] = {"trigger": "drift", "frame_id": 41, "waits_for": "scan_lease"}

    shown = " ".join(focusd("status", "--url", daemon.url).stdout.replace("│", " ").split())

    assert "relay 127.0.0.1:8310: 2 clients, one of them scans, 41 frames passed" in shown
    assert "1 let through before focus was back" in shown
    assert "scan leases montage.py for 12 s more" in shown
    assert "refocus wanted because of drift at frame 41, waits for scan lease" in shown


def test_status_tells_of_a_stream(daemon: FakeDaemon, focusd: Focusd) -> None:
    """What came, and what became of frames that were not judged."""
    daemon.status["stream"] = {
        "is_subscribed": True,
        "frames": 41,
        "frames_waiting": 1,
        "frames_dropped": 3,
        "frames_set_aside": 2,
        "frames_refused": 1,
        "frames_repeated": 0,
        "frames_late": 0,
        "frames_missing": 5,
        "last_frame": "46",
        "last_refused": "frame: dtype must be uint8 or uint16",
        "store_error": "disk full",
    }

    shown = " ".join(focusd("status", "--url", daemon.url).stdout.replace("│", " ").split())

    assert "stream subscribed, 41 frames came, 1 waiting, 3 dropped: they come faster than" in shown
    assert "2 set aside: focusd moved or scanned meanwhile, 5 missing, 1 refused (frame: dtype must" in shown
    assert "verdicts cannot be kept (disk full)" in shown
    assert "repeated" not in shown


def test_status_tells_of_a_watched_folder(daemon: FakeDaemon, focusd: Focusd) -> None:
    """Where it is, how far it is, and what was wrong with the last file that was refused."""
    refused = {"path": "/data/cut.tif", "reason": "is cut short", "refused_at": 1.0}
    folder = {
        "path": "/data",
        "state": "not_answering",
        "since": 1.0,
        "reason": "no answer for 30 s",
        "files_judged": 12,
        "files_refused": 2,
        "files_waiting": 3,
        "last_refused": refused,
        "store_error": "",
    }
    daemon.status["folder"] = folder

    result = focusd("status", "--url", daemon.url)

    told = " ".join(result.stdout.replace("│", " ").split())
    assert "/data: not answering (no answer for 30 s), 12 files judged, 3 waiting" in told
    assert "2 refused, last cut.tif is cut short" in told


def test_status_as_json_is_the_daemons_own_answer(daemon: FakeDaemon, focusd: Focusd) -> None:
    """With ``--json`` nothing is added, left out or renamed."""
    result = focusd("status", "--json", "--url", daemon.url)

    assert json.loads(result.stdout) == STATUS


def test_status_of_a_daemon_that_has_just_started(daemon: FakeDaemon, focusd: Focusd) -> None:
    """What is not known yet is said to be unknown, and the reason for the state is shown."""
    daemon.status |= {
        "state": "disconnected",
        "reason": "connection refused",
        "link": {"connected": False, "address": "sem:8300", "since": 0.0, "error": "connection refused"},
        **dict.fromkeys(("microscope", "column", "last_verdict", "baseline", "last_refocus")),
        "working_distance_setpoint_mm": None,
    }

    result = focusd("status", "--url", daemon.url)

    assert result.exit_code == 0
    assert "DISCONNECTED" in result.stdout
    assert "because           connection refused" in result.stdout
    assert "not connected" in result.stdout
    assert "unknown" in result.stdout


def test_status_tells_a_microscope_that_hangs_from_one_that_is_away(
    daemon: FakeDaemon, focusd: Focusd
) -> None:
    """While an answer is overdue the last round trip means nothing, and the link still stands."""
    daemon.status["link"] = {**daemon.status["link"], "state": "unresponsive"}

    result = focusd("status", "--url", daemon.url)

    told = " ".join(result.stdout.replace("│", " ").split())
    assert "does not answer for now" in told
    assert "not connected" not in told
    assert "answers in" not in told


def test_status_with_a_refocus_under_way(daemon: FakeDaemon, focusd: Focusd) -> None:
    """A running refocus shows how far it is."""
    daemon.status |= {"state": "refocusing", "current_refocus": refocus_record(SCANS[:2])}

    result = focusd("status", "--url", daemon.url)

    assert "7 because of request: scan 2 of at most 14" in result.stdout


@pytest.mark.parametrize(
    "wrong", [None, "text", 1, True, [], {}, 1e999, {"a": 1}, [{"a": None}], "\x1b[31mred\ud800"]
)
def test_status_survives_any_value_of_any_field(wrong: object, daemon: FakeDaemon, focusd: Focusd) -> None:
    """A daemon of another version cannot make the screen fail, nor send controls to the terminal."""
    statuses = [dict.fromkeys(STATUS, wrong), *(STATUS | {key: wrong} for key in STATUS)]
    for daemon.status in statuses:
        result = focusd("status", "--url", daemon.url)

        assert result.exit_code == 0
        assert "\x1b" not in result.stdout


# --- pause and resume ---


def test_pause_hands_over_the_reason(daemon: FakeDaemon, focusd: Focusd) -> None:
    """The reason reaches the daemon as it was typed."""
    result = focusd("pause", "aligning the aperture", "--url", daemon.url)

    assert result.exit_code == 0
    assert result.stdout == "paused: aligning the aperture\n"
    assert daemon.requests[0].path == "/v1/pause"
    assert daemon.requests[0].body == {"reason": "aligning the aperture"}


def test_pause_has_a_reason_of_its_own(daemon: FakeDaemon, focusd: Focusd) -> None:
    """Nobody has to think of a reason."""
    focusd("pause", "--url", daemon.url)

    assert daemon.requests[0].body == {"reason": "paused from the command line"}


def test_resume_says_what_focusd_does_now(daemon: FakeDaemon, focusd: Focusd) -> None:
    """The state after the pause is shown."""
    result = focusd("resume", "--url", daemon.url)

    assert result.exit_code == 0
    assert daemon.requests[0].path == "/v1/resume"
    assert result.stdout == "resumed: monitoring\n"


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_pause_and_resume_as_json(command: str, daemon: FakeDaemon, focusd: Focusd) -> None:
    """A program gets the status that follows."""
    assert json.loads(focusd(command, "--json", "--url", daemon.url).stdout) == STATUS


# --- what can go wrong with any of them ---


@pytest.mark.parametrize("command", COMMANDS)
def test_no_daemon_is_one_line_that_says_what_to_do(
    command: tuple[str, ...], focusd: Focusd, url_of_nobody: str
) -> None:
    """69, the address that was tried, and how a daemon is started."""
    result = focusd(*command, "--url", url_of_nobody)

    assert result.exit_code == 69
    assert result.stdout == ""
    assert result.stderr.startswith(f"focusd: no daemon answers at {url_of_nobody} (Connection refused)")
    assert "focusd run -c FILE" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("slug", "status", "exit_code"),
    [("busy", 409, 75), ("paused", 409, 1), ("not-connected", 503, 1), ("internal-error", 500, 1)],
)
def test_a_problem_is_one_line(
    command: tuple[str, ...], slug: str, status: int, exit_code: int, daemon: FakeDaemon, focusd: Focusd
) -> None:
    """Title and detail of a problem are told; 75 when the microscope is held by another run."""
    daemon.problem = {
        "type": f"urn:focusd:problem:{slug}",
        "title": "Not now",
        "status": status,
        "detail": "refocus 7 is\nrunning\x1b[2J",
    }

    result = focusd(*command, "--url", daemon.url)

    assert result.exit_code == exit_code
    assert result.stderr == "focusd: Not now: refocus 7 is\\nrunning\\x1b[2J\n"


def test_a_title_that_the_detail_repeats_is_said_once(daemon: FakeDaemon, focusd: Focusd) -> None:
    """``focusd is paused: focusd is paused: by me`` says nothing more."""
    daemon.problem = {
        "type": "x",
        "title": "Focusd is paused",
        "status": 409,
        "detail": "focusd is paused: by me",
    }

    assert focusd("refocus", "--url", daemon.url).stderr == "focusd: focusd is paused: by me\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0\1\2\3 TcpGetVersion\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>no</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe{",
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_a_stranger_at_the_daemons_address(garbage: bytes, daemon: FakeDaemon, focusd: Focusd) -> None:
    """Whatever else listens there, the answer is one line that doubts the URL."""
    daemon.garbage = garbage

    result = focusd("status", "--url", daemon.url)

    assert result.exit_code in {1, 69}
    assert result.stderr.startswith("focusd: ")
    assert daemon.url in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8470",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://h:99999",
        "http://[::1",
        "http://a b",
    ],
)
def test_an_unusable_url_is_a_usage_error(url: str, focusd: Focusd) -> None:
    """Nothing is sent to an address that makes no sense."""
    result = focusd("status", "--url", url)

    assert result.exit_code == 2
    assert result.stderr.startswith("focusd: --url ")


def test_address_and_token_may_come_from_the_environment(
    daemon: FakeDaemon, focusd: Focusd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``FOCUSD_URL`` and ``FOCUSD_TOKEN_FILE`` stand in for the options."""
    daemon.token = FILAMENT
    (tmp_path / "token").write_text(f"{FILAMENT}\n")
    monkeypatch.setenv("FOCUSD_URL", daemon.url)
    monkeypatch.setenv("FOCUSD_TOKEN_FILE", str(tmp_path / "token"))

    assert focusd("status").exit_code == 0
    assert daemon.requests[0].token == f"Bearer {FILAMENT}"


def test_a_missing_token_is_told_in_the_daemons_words(daemon: FakeDaemon, focusd: Focusd) -> None:
    """A problem without detail is its title."""
    daemon.token = FILAMENT

    result = focusd("status", "--url", daemon.url)

    assert result.exit_code == 1
    assert result.stderr == "focusd: Unauthorized\n"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two words", b"two\nlines", b"\xe9t\xe9", b"a\0b"])
def test_an_unusable_token_file_is_named(
    content: bytes | None, daemon: FakeDaemon, focusd: Focusd, tmp_path: Path
) -> None:
    """A token that could not be sent is never tried, nor shown."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    result = focusd("status", "--url", daemon.url, "--token-file", file)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"focusd: token file {file}")
    assert "two" not in result.stderr
    assert daemon.requests == []


def test_a_proxy_of_the_environment_is_not_asked(
    daemon: FakeDaemon, focusd: Focusd, url_of_nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon is nearby: a proxy could only lead astray."""
    monkeypatch.setenv("http_proxy", url_of_nobody)

    assert focusd("status", "--url", daemon.url).exit_code == 0


def test_a_path_in_the_url_stands_before_every_route(daemon: FakeDaemon, focusd: Focusd) -> None:
    """A daemon behind a reverse proxy can be reached."""
    focusd("status", "--url", f"{daemon.url}/microscopes/left/")

    assert daemon.requests[0].path == "/microscopes/left/v1/status"
