"""``focusd history`` against a daemon that only pretends: the list, one refocus, its spectra."""

from __future__ import annotations

import json

from tests.unit.cli.conftest import Focusd
from tests.unit.cli.fake_daemon import CANCELLED, EVIDENCE, SPECTRA, FakeDaemon, refocus_record


def test_the_list_is_a_line_for_each_refocus(daemon: FakeDaemon, focusd: Focusd) -> None:
    """Newest first: why it was started, how it ended, how far it went, what it cost and why."""
    daemon.history = [refocus_record([]), EVIDENCE | {"refocus_id": 6}, CANCELLED | {"refocus_id": 5}]

    result = focusd("history", "--limit", 3, "--url", daemon.url)

    assert result.exit_code == 0
    _, running, refocused, cancelled = result.stdout.splitlines()
    assert "running" in running
    assert "drift" in refocused
    assert "refocused  +3.0 µm" in refocused
    assert refocused.endswith("3  0.75  the picture at the end is sharper")
    assert cancelled.endswith("cancelled on request")
    assert daemon.requests[-1].path == "/v1/refocuses?limit=3"


def test_an_empty_history_says_so(daemon: FakeDaemon, focusd: Focusd) -> None:
    """Nothing has been refocused yet."""
    result = focusd("history", "--url", daemon.url)

    assert (result.exit_code, result.stdout) == (0, "no refocus yet\n")


def test_one_refocus_is_shown_with_all_its_evidence(daemon: FakeDaemon, focusd: Focusd) -> None:
    """Cause, posterior, acceptance figures, dose; and each scan with its region, dwell and energies."""
    daemon.progress = [EVIDENCE]

    result = focusd("history", 7, "--url", daemon.url)

    assert result.exit_code == 0
    for words in (
        "drift, frame 41",
        "brent by log_energy",
        "refocused: the picture at the end is sharper",
        "+3.0 µm, from 9.0000 mm to 9.0030 mm",
        "believed at 9.0031 mm ± 0.4 µm, depth of field 2.1 µm",
        "sharpness x 2.00, z = 12.3, nearer to focus with probability 0.998",
        "lost at the start with probability 0.970",
        "3 scans of at most 14, 0.8 s of beam, the dose of 0.75 frames, 4.2 s in all",
        "256 x 256 at 128, 128",
        "1 µs",
        "1.4 px",
        "10.5±0.04",
    ):
        assert words in result.stdout
    assert "cycles/px" not in result.stdout


def test_spectra_are_shown_side_by_side(daemon: FakeDaemon, focusd: Focusd) -> None:
    """A line for each ring, a column for each scan, the noise floor last."""
    daemon.progress = [EVIDENCE]

    result = focusd("history", 7, "--spectra", "--url", daemon.url)

    *_, first, second, floor = result.stdout.splitlines()
    assert first.split() == ["0.1000", "90", "91", "92"]
    assert second.split() == ["0.4000", "12.5", "12.5", "12.5"]
    assert floor.split() == ["noise", "floor", "8.25", "8.25", "8.25"]


def test_json_is_what_the_daemon_says(daemon: FakeDaemon, focusd: Focusd) -> None:
    """The list as it came; one refocus with its spectra as one object."""
    daemon.history, daemon.progress = [EVIDENCE], [EVIDENCE]

    listed = focusd("history", "--json", "--url", daemon.url)
    single = focusd("history", 7, "--spectra", "--json", "--url", daemon.url)

    assert json.loads(listed.stdout) == {"refocuses": [EVIDENCE], "next": None}
    assert json.loads(single.stdout) == EVIDENCE | SPECTRA


def test_spectra_of_all_are_not_to_be_had(daemon: FakeDaemon, focusd: Focusd) -> None:
    """They belong to one refocus, which must be named."""
    result = focusd("history", "--spectra", "--url", daemon.url)

    assert result.exit_code == 2
    assert "say of which refocus" in result.stderr
    assert daemon.requests == []


def test_a_record_that_lacks_things_is_shown_as_far_as_it_goes(daemon: FakeDaemon, focusd: Focusd) -> None:
    """A refocus that never began, or a daemon of another version, is no error."""
    daemon.progress = [refocus_record([])]
    bare = focusd("history", 7, "--url", daemon.url)
    daemon.progress = [{"refocus_id": 7, "scans": [{"index": 0, "energies": {"2": "much"}}]}]
    strange = focusd("history", 7, "--url", daemon.url)

    assert (bare.exit_code, strange.exit_code) == (0, 0)
    assert "still running" in bare.stdout
    assert "?±?" in strange.stdout


def test_whether_spectra_are_kept_is_asked_with_the_refocus(daemon: FakeDaemon, focusd: Focusd) -> None:
    """``--keep-spectra`` goes with the request; without it the daemon's configuration decides."""
    for options in ([], ["--keep-spectra"], ["--no-keep-spectra"]):
        focusd("refocus", "--no-wait", *options, "--url", daemon.url)

    assert [request.body for request in daemon.requests] == [
        {},
        {"keep_spectra": True},
        {"keep_spectra": False},
    ]
