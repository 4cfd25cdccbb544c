"""The client for acquisition scripts: the one module of focusd that other programs import.

    async with Client("http://127.0.0.1:8470") as focusd:
        judgement = await focusd.judge(tile, pixel_size_nm=4.0)
        if judgement.reacquire_from is not None: ...

It depends on ``aiohttp`` and on nothing of focusd but its base exception. For programs that cannot install
it, ``deploy/client/focusd_client.py`` does the same in one file with the standard library only.
"""

from focusd.client.client import DEFAULT_URL, Client
from focusd.client.failures import (
    BusyError,
    ClientError,
    DeadlineError,
    DegradedError,
    FrameError,
    InvalidRequestError,
    LeasedError,
    NotConnectedError,
    NotReadyError,
    PausedError,
    ProblemError,
    StrangerError,
    UnauthorizedError,
    UnreachableError,
)
from focusd.client.frames import Conditions
from focusd.client.hold import Hold
from focusd.client.results import (
    Checkpoint,
    FrameVerdict,
    Judgement,
    PredictedFocus,
    Readiness,
    Refocus,
    Status,
)

__all__ = [
    "DEFAULT_URL",
    "BusyError",
    "Checkpoint",
    "Client",
    "ClientError",
    "Conditions",
    "DeadlineError",
    "DegradedError",
    "FrameError",
    "FrameVerdict",
    "Hold",
    "InvalidRequestError",
    "Judgement",
    "LeasedError",
    "NotConnectedError",
    "NotReadyError",
    "PausedError",
    "PredictedFocus",
    "ProblemError",
    "Readiness",
    "Refocus",
    "Status",
    "StrangerError",
    "UnauthorizedError",
    "UnreachableError",
]
