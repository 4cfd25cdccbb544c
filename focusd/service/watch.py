"""What is known of one imaging condition since the daemon started, and what it says of the next frame."""

from __future__ import annotations

from dataclasses import dataclass

from focusd.config import BaselineSettings, DriftSettings
from focusd.focus.baseline import BaselineLearner, RunningReference
from focusd.focus.drift import DriftState, make_detector
from focusd.focus.gain import GainWatch
from focusd.focus.lost_signal import SignalWatch
from focusd.focus.measure import Measurement
from focusd.frame import ImagingConditions
from focusd.records import Baseline, Verdict

FOCUSED_FRAMES = 3
"""Frames learnt from after a refocus: their median shrugs off one that was taken while the lens moved."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of one frame."""

    verdict: Verdict
    reason: str | None
    reference: float | None
    """Sharpness that the frame was compared with, or would have been."""
    ratio: float | None = None
    reacquire_from: int | None = None
    """When out of focus: the first frame that may be blurred."""


class Watch:
    """Follows the frames of one imaging condition.

    Args:
        conditions: The condition.
        drift: When focus counts as lost.
        settings: How a baseline comes about.
        baseline: What is known of it from before.
    """

    def __init__(
        self,
        conditions: ImagingConditions,
        drift: DriftSettings,
        settings: BaselineSettings,
        baseline: Baseline | None,
    ) -> None:
        self.conditions = conditions
        self._drift = drift
        self._settings = settings
        self._detector = make_detector(drift.detector, drift)
        self._signal = SignalWatch(drift.lost_signal_frames)
        self._gain = GainWatch()
        self.learner = BaselineLearner(settings.learn_frames)
        self.is_focused = False
        """Whether focus has just been found, so that the frames that come now make a baseline."""
        self.last: Measurement | None = None
        """Of the last judgeable frame, in case the operator calls it the baseline, ..."""
        self.last_working_distance_mm: float | None = None
        """... and where the lens stood then."""
        self._baseline: Baseline | None = None
        self._reference: RunningReference | None = None
        self.set_baseline(baseline)

    @property
    def baseline(self) -> Baseline | None:
        """What frames are compared with, as it is stored."""
        return self._baseline

    @property
    def lacks_reference(self) -> bool:
        """Whether nothing is known that frames could be compared with: no baseline, or of other metrics."""
        return self._reference is None

    def set_baseline(self, baseline: Baseline | None) -> None:
        """Compare with another baseline from now on; without one, learn anew."""
        anchor = baseline.sharpness.get(self._drift.metric) if baseline else None
        self._baseline = baseline
        self._reference = RunningReference(anchor, self._settings.follow_frames) if anchor else None
        self.is_focused = False
        if baseline is None:
            self.learner = BaselineLearner(self._settings.learn_frames)
        self.forget_suspicion()

    def expect_focus(self) -> None:
        """Learn a baseline from the frames that come next."""
        self.is_focused = True
        self.learner = BaselineLearner(FOCUSED_FRAMES)

    def forget_suspicion(self) -> None:
        """Drop the evidence that focus is lost."""
        self._detector.reset()
        self._signal.reset()

    def vouch_for(self, sharpness: float) -> None:
        """Let the reference follow a frame that other scans have shown to be in focus."""
        if self._reference is not None:
            self._reference.learn(sharpness, verified=True)

    def judge(self, frame_id: int, measurement: Measurement) -> Judgement:
        """Give the verdict on the next frame of this condition."""
        quality = measurement.quality
        reference = self._reference.value if self._reference else None
        lost_since = self._signal.fold(frame_id, quality)
        if lost_since is not None and self._reference is not None:
            return Judgement(Verdict.OUT_OF_FOCUS, "lost_signal", reference, reacquire_from=lost_since)
        if not quality.judgeable:
            return Judgement(Verdict.UNJUDGEABLE, quality.reason, reference)
        if self._reference is None:
            return Judgement(Verdict.LEARNING, self._note(measurement, in_focus=False), None)
        score = measurement.scores[self._drift.metric]
        decision = self._detector.fold(frame_id, score, self._reference.value)
        in_focus = decision.verdict is DriftState.IN_FOCUS
        reason = self._note(measurement, in_focus=in_focus)
        if decision.may_teach and reason is None:
            self._reference.learn(score.value)
        lost = decision.verdict is DriftState.OUT_OF_FOCUS
        return Judgement(
            Verdict(decision.verdict.value),
            reason,
            reference,
            decision.ratio,
            reacquire_from=decision.first_below if lost else None,
        )

    def _note(self, measurement: Measurement, *, in_focus: bool) -> str | None:
        return "gain_changed" if self._gain.fold(measurement, in_focus=in_focus) else None
