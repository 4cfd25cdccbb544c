"""``focusd refocus`` against a daemon that only pretends: progress, result, Ctrl-C, absence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.unit.cli.conftest import Focusd
from tests.unit.cli.fake_daemon import REFOCUSED, SCANS, FakeDaemon, Request, refocus_record


def interrupt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C during the first pause between two looks at the refocus."""
    interrupts = iter([KeyboardInterrupt])
    sleep = time.sleep

    def interrupted(seconds: float) -> None:
        for interrupt in interrupts:
            raise interrupt
        sleep(seconds)

    monkeypatch.setattr("focusd.cli.refocus.time.sleep", interrupted)


def refuse_cancel(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the daemon answer a cancel with a problem."""
    problem = {"type": "about:blank", "title": "Not now", "status": 409, "detail": "try later"}
    answer = daemon.answer

    def refusing(request: Request) -> tuple[int, dict[str, Any]]:
        return (409, problem) if request.method == "DELETE" else answer(request)

    monkeypatch.setattr(daemon, "answer", refusing)


def test_refocus_shows_each_scan_once_and_ends_with_the_result(daemon: FakeDaemon, focusd: Focusd) -> None:
    """The scans appear as they come, then result, move and gain; 0 because the picture is in focus."""
    seen = [[], SCANS[:1], SCANS[:1], SCANS[:2]]
    daemon.progress = [*(refocus_record(scans) for scans in seen), REFOCUSED]

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 0
    first, *scans, last = result.stdout.splitlines()
    assert "refocus 7: brent by log_energy, from 9.0000 mm, at most 14 scans" in first
    assert [line.split()[:2] for line in scans] == [["0", "start"], ["1", "search"], ["2", "verification"]]
    assert "+4.0 µm" in scans[1]
    assert "x 1.500" in scans[1]
    assert last.startswith("refocus 7: refocused, +3.0 µm, sharpness x 2.00, 3 scans, 4.2 s")


@pytest.mark.parametrize(
    ("result_code", "exit_code"),
    [("refocused", 0), ("confirmed_in_focus", 0), ("no_peak", 1), ("link_lost", 1), ("unheard_of", 1)],
)
def test_refocus_ends_with_0_only_in_focus(
    result_code: str, exit_code: int, daemon: FakeDaemon, focusd: Focusd
) -> None:
    """A script may rely on the exit code alone."""
    daemon.progress = [REFOCUSED | {"result": result_code, "reason": "for a reason"}]

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == exit_code
    assert result.stdout.splitlines()[-1].startswith(f"refocus 7: {result_code.replace('_', ' ')}")
    assert "(for a reason)" in result.stdout


def test_refocus_as_json_prints_the_finished_record_only(daemon: FakeDaemon, focusd: Focusd) -> None:
    """A program gets one JSON object."""
    daemon.progress = [refocus_record(SCANS[:1]), REFOCUSED]

    result = focusd("refocus", "--json", "--url", daemon.url)

    assert result.exit_code == 0
    assert json.loads(result.stdout) == REFOCUSED


def test_refocus_without_waiting_names_it_and_leaves(daemon: FakeDaemon, focusd: Focusd) -> None:
    """With ``--no-wait`` nothing is polled."""
    result = focusd("refocus", "--no-wait", "--url", daemon.url)

    assert result.exit_code == 0
    assert "refocus 7 started" in result.stdout
    assert [(request.method, request.path) for request in daemon.requests] == [("POST", "/v1/refocuses")]


def test_ctrl_c_cancels_the_refocus_and_says_so(daemon: FakeDaemon) -> None:
    """An interrupted command ends the refocus, waits until the lens is back, and reports it."""
    daemon.progress = [refocus_record(SCANS[:2])]
    command = subprocess.Popen(
        [sys.executable, "-m", "focusd", "refocus", "--url", daemon.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert daemon.looked_at.wait(20)
    command.send_signal(signal.SIGINT)
    stdout, stderr = command.communicate(timeout=20)

    assert command.returncode == 1
    assert ("DELETE", "/v1/refocuses/7?timeout_s=5") in [
        (request.method, request.path) for request in daemon.requests
    ]
    assert "focusd: cancelling" in stderr
    assert "refocus 7: cancelled" in stdout.splitlines()[-1]
    assert stdout.splitlines()[-1].endswith("working distance 9.0000 mm")
    assert "Traceback" not in stderr


def test_an_interrupt_after_the_end_reports_the_end(
    daemon: FakeDaemon, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refocus that ended in the very moment of Ctrl-C cannot be cancelled any more: its result counts."""
    daemon.progress = [REFOCUSED]
    refuse_cancel(daemon, monkeypatch)
    interrupt_once(monkeypatch)

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 0
    assert "refocus 7: refocused" in result.stdout


def test_a_daemon_that_is_away_for_a_moment_is_waited_for(
    daemon: FakeDaemon, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart in the middle of a refocus does not end the command."""
    monkeypatch.setattr("focusd.cli.refocus.PATIENCE_S", 20.0)
    daemon.hang_ups = 3
    daemon.progress = [refocus_record(SCANS[:1]), REFOCUSED]

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 0
    assert daemon.hang_ups == 0


def test_a_daemon_that_stays_away_is_given_up(daemon: FakeDaemon, focusd: Focusd) -> None:
    """69, as if it had never been there."""
    daemon.hang_ups = 1_000_000

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 69
    assert f"no daemon answers at {daemon.url}" in result.stderr


def test_a_cancel_that_does_not_end_is_told(
    daemon: FakeDaemon, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command does not wait for ever for a lens that is not put back."""
    daemon.cancels_slowly = True
    daemon.progress = [refocus_record(SCANS[:1])]
    monkeypatch.setattr("focusd.cli.refocus.CANCEL_S", 0.05)
    interrupt_once(monkeypatch)

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 1
    assert "cancelled, but the refocus has not ended yet" in result.stderr


def test_a_cancel_that_is_refused_is_told(
    daemon: FakeDaemon, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refocus that goes on although it was to be cancelled is no success."""
    daemon.progress = [refocus_record(SCANS[:1])]
    refuse_cancel(daemon, monkeypatch)
    interrupt_once(monkeypatch)

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 1
    assert "focusd: Not now: try later" in result.stderr


def test_an_answer_without_an_id_cannot_be_followed(
    daemon: FakeDaemon, focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that does not say what it started is not guessed at."""
    monkeypatch.setattr(daemon, "answer", lambda request: (202, {"refocus_id": "seven"}))

    result = focusd("refocus", "--url", daemon.url)

    assert result.exit_code == 1
    assert "did not say which refocus" in result.stderr
