"""Everything that can go wrong between a script and the daemon.

* ``ClientError``
    * ``UnreachableError``: nobody answers (also a ``ConnectionError``)
    * ``DeadlineError``: no answer within the time the caller gave (also a ``TimeoutError``)
    * ``StrangerError``: whoever answers is no focusd
    * ``FrameError``: what was given to ``judge`` is no frame; nothing was sent (also a ``ValueError``)
    * ``ProblemError``: the daemon refuses, and says why
        * ``InvalidRequestError``: what was sent cannot be used
        * ``UnauthorizedError``: a valid token is needed
        * ``BusyError``: a refocus is queued or running; ``running_id`` names it
        * ``PausedError``: an operator has paused focusd
        * ``DegradedError``: no move is made until the cause is mended
        * ``LeasedError``: somebody scans and the lens is left alone, for ``free_in_s`` seconds at most
        * ``NotConnectedError``: there is no connection to the microscope
        * ``NotReadyError``: acquisition may not go on yet
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from focusd.errors import FocusdError

TYPE_PREFIX = "urn:focusd:problem:"


class ClientError(FocusdError):
    """Base of everything that the client raises."""


class UnreachableError(ClientError, ConnectionError):
    """Nobody answers at the daemon's address."""


class DeadlineError(ClientError, TimeoutError):
    """No answer within the time the caller gave."""


class StrangerError(ClientError):
    """Whoever answers does not answer as focusd does."""


class FrameError(ClientError, ValueError):
    """What was given is no frame; nothing was sent."""


class ProblemError(ClientError):
    """The daemon refuses, and says why in a problem document (RFC 9457).

    Attributes:
        slug: Stable name of the kind of problem, e.g. ``paused``.
        status: HTTP status.
        detail: A sentence about this occurrence.
        facts: What else the document holds, such as ``field`` or ``allowed``.
        retry_after_s: When to ask again, if the daemon knows.
    """

    def __init__(self, document: Mapping[str, Any], *, status: int, retry_after_s: float | None) -> None:
        self.slug = str(document.get("type", "")).removeprefix(TYPE_PREFIX)
        self.status = status
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.facts = {name: value for name, value in document.items() if name not in _OWN_MEMBERS}
        self.retry_after_s = retry_after_s
        super().__init__(": ".join(filter(None, (self.title, self.detail))) or f"status {status}")


class InvalidRequestError(ProblemError):
    """What was sent cannot be used; ``facts`` may name the ``field``."""


class UnauthorizedError(ProblemError):
    """A valid token is needed."""


class BusyError(ProblemError):
    """A refocus is queued or running."""

    @property
    def running_id(self) -> int | None:
        """Id of the refocus, if it has one."""
        running = self.facts.get("running_id")
        return running if isinstance(running, int) else None


class PausedError(ProblemError):
    """An operator has paused focusd."""


class DegradedError(ProblemError):
    """No move is made until the cause is mended."""


class LeasedError(ProblemError):
    """Somebody scans and the lens is left alone."""

    @property
    def free_in_s(self) -> float:
        """Seconds until the last lease runs out, unless it is renewed."""
        free = self.facts.get("free_in_s")
        return float(free) if isinstance(free, int | float) else 0.0


class NotConnectedError(ProblemError):
    """There is no connection to the microscope."""


class NotReadyError(ProblemError):
    """Acquisition may not go on yet."""


_OWN_MEMBERS = frozenset({"type", "title", "status", "detail"})

_KINDS: Mapping[str, type[ProblemError]] = {
    "unauthorized": UnauthorizedError,
    "busy": BusyError,
    "paused": PausedError,
    "degraded": DegradedError,
    "scan-lease": LeasedError,
    "not-connected": NotConnectedError,
    "link-lost": NotConnectedError,
    "not-ready": NotReadyError,
}
_INVALID_STATUSES = frozenset({400, 411, 413, 415, 422})


def problem_error(
    document: Mapping[str, Any], *, status: int, retry_after_s: float | None = None
) -> ProblemError:
    """Give the error that a problem document stands for; kinds unknown to this version are plain ones."""
    slug = str(document.get("type", "")).removeprefix(TYPE_PREFIX)
    usual = InvalidRequestError if status in _INVALID_STATUSES else ProblemError
    return _KINDS.get(slug, usual)(document, status=status, retry_after_s=retry_after_s)
