"""What follows from a verdict: nothing, a word of advice, or a refocus; and what that means for the next.

No move is made here, and nothing is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from focusd.config import Config
from focusd.frame import Frame
from focusd.records import FrameVerdict, RefocusRecord, RefocusResult, RefocusTrigger, Verdict
from focusd.service.attempts import Attempts
from focusd.service.places import SeenPlaces

_log = structlog.get_logger(__name__)

BLIND_ALARMS = 3
"""After so many blind alarms at different places, with no frame in focus between, focus is searched for: a
probe sees no farther than a few depths of field, a search does."""


class Policy:
    """Remembers what has been tried.

    Args:
        config: The whole configuration.
        clock: Monotonic seconds.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._refocus = config.refocus
        self._autofocuses = config.baseline.policy == "autofocus"
        self._attempts = Attempts(config.refocus.attempts, config.refocus.cool_down_s, clock)
        self._places = SeenPlaces(config.refocus.place_cool_down_s, config.drift.threshold_ratio, clock)
        self._failed_places = SeenPlaces(config.refocus.cool_down_s, 1.0, clock)
        self._blind = 0
        self._advised = False
        self._blocked = False

    @property
    def has_given_up(self) -> bool:
        """Whether automatic moves are off until an operator says so, or for a cool-down."""
        return self._blocked or self._attempts.exhausted

    def wanted(self, verdict: FrameVerdict, frame: Frame, *, is_awaited: bool) -> RefocusTrigger | None:
        """Say whether a refocus is wanted after a frame, and why.

        Args:
            verdict: What was found of the frame.
            frame: The frame.
            is_awaited: Whether somebody waits for the outcome before the next frame is taken: then one
                suspect frame is enough for a probe.
        """
        if verdict.verdict is Verdict.IN_FOCUS:
            self._blind = 0
        trigger = self._trigger(verdict, is_awaited=is_awaited)
        if trigger is None:
            self._advised = self._advised and verdict.verdict is not Verdict.IN_FOCUS
            return None
        if self._refocus.mode == "advise":
            self._advise(trigger, verdict)
            return None
        if self.has_given_up:
            return None
        if trigger is RefocusTrigger.DRIFT and self._places.knows(frame, verdict.ratio):
            _log.debug("place_left_alone", frame_id=verdict.frame_id)
            return None
        return trigger

    def note(self, record: RefocusRecord, frame: Frame | None, ratio: float | None) -> str | None:
        """Draw the consequences of a refocus; give the reason when automatic tries end with it.

        Args:
            record: The finished refocus.
            frame: The frame that called for it, if one did.
            ratio: Its sharpness over the baseline's.
        """
        result = record.result
        if result is None:
            return None
        self._blind = self._blind + 1 if result is RefocusResult.BLIND else 0
        if result.is_success:
            self._attempts.reset()
            self._places.forget()
        elif result.is_failure and record.trigger is not RefocusTrigger.REQUEST:
            self._attempts.failed(elsewhere=frame is not None and not self._failed_places.knows(frame, None))
            if frame is not None:
                self._failed_places.remember(frame, None)
            if self._attempts.exhausted:
                cool_down_s = self._refocus.cool_down_s
                return f"refocus failed ({result}): {record.reason}; next try in {cool_down_s:g} s"
        elif frame is not None and result is not RefocusResult.CANCELLED:
            self._places.remember(frame, ratio)
        return None

    def forgive(self) -> None:
        """Forget all failures by an operator's word."""
        self._attempts.reset()
        self._places.forget()
        self._advised = self._blocked = False

    def forgive_attempts(self) -> None:
        """Forget the failures in a row: an operator has asked for a refocus."""
        self._attempts.reset()

    def block(self) -> None:
        """Want nothing until ``forgive``."""
        self._blocked = True

    def _trigger(self, verdict: FrameVerdict, *, is_awaited: bool) -> RefocusTrigger | None:
        alarm = RefocusTrigger.BLIND_ALARMS if self._blind >= BLIND_ALARMS else RefocusTrigger.DRIFT
        if verdict.verdict is Verdict.OUT_OF_FOCUS:
            return alarm
        probes = self._refocus.mode != "advise" and self._refocus.probe and self._refocus.probe_suspicion
        # Nobody scans at a checkpoint, and an in-focus frame before it ends the suspicion.
        is_cheap = is_awaited or self._refocus.mode == "checkpoint"
        if verdict.verdict is Verdict.SUSPECT and is_cheap and probes:
            return alarm
        if verdict.verdict is Verdict.LEARNING and self._autofocuses:
            return RefocusTrigger.FIRST_FRAME
        return None

    def _advise(self, trigger: RefocusTrigger, verdict: FrameVerdict) -> None:
        if not self._advised:
            _log.warning(
                "refocus_advised", trigger=trigger.value, frame_id=verdict.frame_id, ratio=verdict.ratio
            )
        self._advised = True
