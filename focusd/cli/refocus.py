"""``focusd refocus``: have a running daemon focus now, and watch it do so scan by scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from focusd.cli.answers import Json, millimetres, move, number, objects, text
from focusd.cli.connection import DEFAULT_URL, AsJson, TokenFile, Url, print_json, reach
from focusd.cli.outcome import CommandFailedError, ExitCode, complain
from focusd.cli.status import summary

if TYPE_CHECKING:
    from focusd.cli.http import DaemonClient

SUCCESSES = frozenset({"refocused", "confirmed_in_focus"})
"""The results after which the picture is known to be in focus."""

POLL_S = 0.25
PATIENCE_S = 15.0
"""How long the daemon may be away while a refocus is followed: it may be starting again."""
CANCEL_WAIT_S = 5.0
"""How long one request waits for the lens to be put back; well under the client's own deadline."""
CANCEL_S = 90.0
"""How long putting the lens back may take."""

KeepSpectra = Annotated[
    bool | None,
    typer.Option(
        "--keep-spectra/--no-keep-spectra",
        help="Keep the power spectrum of each scan; as configured unless given.",
        show_default=False,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it has ended.")]


def refocus(
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    wait: Wait = True,
    keep_spectra: KeepSpectra = None,
    as_json: AsJson = False,
) -> None:
    """Focus now, and show each scan as it comes.

    Ends with 0 only if the picture is known to be in focus. Ctrl-C cancels
    the refocus, and the daemon puts the working distance back. What it went
    by is shown afterwards by `focusd history ID`.

    Example:
      focusd refocus
      focusd refocus --no-wait --json
    """
    client = reach(url, token_file)
    say: Callable[[str], None] = _silent if as_json else typer.echo
    wishes = {} if keep_spectra is None else {"keep_spectra": keep_spectra}
    record = client.post("/v1/refocuses", wishes)
    path = f"/v1/refocuses/{_identity(record)}"
    if wait:
        follower = _Follower(client, path, say)
        try:
            record = follower.follow(record)
        except KeyboardInterrupt:
            record = _cancel(client, path)
    if as_json:
        print_json(record)
    else:
        say(_last_line(record))
    if wait:
        raise typer.Exit(ExitCode.DONE if record.get("result") in SUCCESSES else ExitCode.FAILED)


def _silent(_line: str) -> None:
    """With ``--json`` nothing but the record is printed."""


def _identity(record: Json) -> int:
    refocus_id = record.get("refocus_id")
    if not isinstance(refocus_id, int):
        raise CommandFailedError("the daemon did not say which refocus it started; see `focusd status`")
    return refocus_id


class _Follower:
    """Polls a refocus and says what is new in it."""

    def __init__(self, client: DaemonClient, path: str, say: Callable[[str], None]) -> None:
        self._client = client
        self._path = path
        self._say = say
        self._said_start = False
        self._scans_said = 0

    def follow(self, record: Json) -> Json:
        """Poll until the refocus has ended; give its finished record."""
        self._tell(record)
        while record.get("result") is None:
            time.sleep(POLL_S)
            record = _get_patiently(self._client, self._path)
            self._tell(record)
        return record

    def _tell(self, record: Json) -> None:
        if not self._said_start and record.get("start_working_distance_mm") is not None:
            self._said_start = True
            self._say(
                f"refocus {text(record, 'refocus_id')}: "
                f"{text(record, 'method')} by {text(record, 'metric')}, "
                f"from {millimetres(number(record, 'start_working_distance_mm'))}, "
                f"at most {text(record, 'max_scans')} scans"
            )
        scans = objects(record, "scans")
        for scan in scans[self._scans_said :]:
            self._say(_scan_line(scan, scans[0], number(record, "start_working_distance_mm")))
        self._scans_said = max(self._scans_said, len(scans))


def _get_patiently(client: DaemonClient, path: str) -> Json:
    """Read the record, also when the daemon is away for a moment."""
    from focusd.cli.http import NoDaemonError

    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return client.get(path)
        except NoDaemonError:
            if time.monotonic() >= give_up:
                raise
        time.sleep(POLL_S)


def _scan_line(scan: Json, first: Json, start_mm: float | None) -> str:
    place_mm = number(scan, "working_distance_mm")
    sharpness, reference = number(scan, "sharpness"), number(first, "sharpness")
    ratio = f"x {sharpness / reference:.3f}" if sharpness is not None and reference else ""
    words = (
        f"{text(scan, 'index'):>4}",
        f"{text(scan, 'role'):<12}",
        f"{millimetres(place_mm):>12}",
        f"{move(start_mm, place_mm):>10}",
        f"sharpness {'unknown' if sharpness is None else format(sharpness, '.4g'):<10}",
        ratio,
    )
    return "  ".join(words).rstrip()


def _cancel(client: DaemonClient, path: str) -> Json:
    """Cancel the refocus and wait until the lens is back; give the finished record."""
    from focusd.cli.http import RefusedError

    complain("cancelling; the daemon puts the working distance back (Ctrl-C again leaves at once)")
    try:
        client.delete(f"{path}?timeout_s={CANCEL_WAIT_S:g}")
    except RefusedError:
        # It may have ended by itself in this very moment; its record tells.
        if client.get(path).get("result") is None:
            raise
    give_up = time.monotonic() + CANCEL_S
    record = _get_patiently(client, path)
    while record.get("result") is None:
        if time.monotonic() >= give_up:
            raise CommandFailedError("cancelled, but the refocus has not ended yet; see `focusd status`")
        time.sleep(POLL_S)
        record = _get_patiently(client, path)
    return record


def _last_line(record: Json) -> str:
    if record.get("result") is None:
        return f"refocus {text(record, 'refocus_id')} started; follow it with `focusd status`"
    place = millimetres(number(record, "final_working_distance_mm"))
    return f"refocus {text(record, 'refocus_id')}: {summary(record)}; working distance {place}"
