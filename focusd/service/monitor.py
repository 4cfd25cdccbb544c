"""From a frame to a verdict: score it, compare it with its baseline, fold it into the detector."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from focusd.config import BaselineSettings, DriftSettings
from focusd.focus.baseline import BaselineLearner
from focusd.focus.drift import DriftDetector, RatioDetector
from focusd.focus.measure import Measurement, measure
from focusd.frame import Frame, ImagingConditions
from focusd.records import Baseline, FrameVerdict, Verdict
from focusd.store.database import Store

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Watch:
    """What is known of one imaging condition since the daemon started."""

    conditions: ImagingConditions
    detector: DriftDetector
    learner: BaselineLearner
    baseline: Baseline | None = None
    last: Measurement | None = None
    """Of the last judgeable frame, ..."""
    last_working_distance_mm: float | None = None
    """... and where the lens stood then."""


class Monitor:
    """Judges frames and keeps the baselines.

    Args:
        store: Where verdicts and baselines are kept.
        drift: When focus counts as lost.
        baseline: How a baseline comes about.
        refocus_metric: Scored for each frame too, so that a baseline holds it.
    """

    def __init__(
        self, store: Store, drift: DriftSettings, baseline: BaselineSettings, *, refocus_metric: str
    ) -> None:
        self._store = store
        self._drift = drift
        self._settings = baseline
        self._metrics = (drift.metric, refocus_metric)
        self._watches: list[_Watch] = []
        self._current: _Watch | None = None

    @property
    def baseline(self) -> Baseline | None:
        """The baseline of the imaging condition of the last frame."""
        return self._current.baseline if self._current else None

    async def measure(self, frame: Frame) -> Measurement:
        """Score a frame in a worker thread."""
        return await asyncio.to_thread(measure, frame.pixels, self._metrics)

    async def judge(self, frame: Frame) -> FrameVerdict:
        """Give the verdict on one frame, and keep it.

        Raises:
            StoreError: the verdict could not be kept.
        """
        measurement = await self.measure(frame)
        watch = await self._watch(frame.conditions)
        verdict = await self._verdict(frame, measurement, watch)
        await self._store.frames.append(verdict)
        _log.info(
            "frame_judged",
            frame_id=verdict.frame_id,
            verdict=verdict.verdict.value,
            reason=verdict.reason,
            ratio=verdict.ratio,
            sharpness=verdict.sharpness,
            baseline_sharpness=verdict.baseline_sharpness,
            laplacian_variance=verdict.laplacian_variance,
            working_distance_mm=verdict.working_distance_mm,
            condition=verdict.condition,
        )
        return verdict

    @property
    def wants_reference(self) -> bool:
        """Whether a picture known to be in focus would become a baseline."""
        return self._settings.policy == "autofocus" and self.baseline is None

    async def adopt(
        self, conditions: ImagingConditions, verified: Measurement, working_distance_mm: float | None
    ) -> None:
        """Make a picture known to be in focus the baseline of its condition, unless there is one."""
        watch = await self._watch(conditions)
        if watch.baseline is None and verified.quality.judgeable:
            await self._keep(watch, verified, source="refocus", working_distance_mm=working_distance_mm)

    def forget_suspicion(self) -> None:
        """Drop what the detectors have gathered, e.g. after a pause."""
        for watch in self._watches:
            watch.detector.reset()

    async def capture(self) -> Baseline | None:
        """Make the last judgeable frame the baseline of its condition, by the operator's word."""
        watch = self._current
        if watch is None or watch.last is None:
            return None
        return await self._keep(
            watch, watch.last, source="operator", working_distance_mm=watch.last_working_distance_mm
        )

    async def put(self, baseline: Baseline) -> None:
        """Set a baseline by the operator's word."""
        await self._store.baselines.put(baseline)
        for watch in self._watches:
            if watch.conditions.matches(baseline.conditions):
                watch.baseline = baseline
                watch.detector.reset()

    async def delete(self, condition: str) -> bool:
        """Forget a baseline; tell whether there was one."""
        for watch in self._watches:
            if watch.baseline is not None and watch.baseline.condition == condition:
                watch.baseline = None
                watch.learner = BaselineLearner(self._settings.learn_frames)
                watch.detector.reset()
        return await self._store.baselines.delete(condition)

    async def _watch(self, conditions: ImagingConditions) -> _Watch:
        for watch in self._watches:
            if watch.conditions.matches(conditions):
                break
        else:
            baseline = await self._store.baselines.find(conditions)
            watch = _Watch(
                baseline.conditions if baseline else conditions,
                RatioDetector(
                    threshold_ratio=self._drift.threshold_ratio,
                    frames_below=self._drift.frames_below,
                    frames_window=self._drift.frames_window,
                ),
                BaselineLearner(self._settings.learn_frames),
                baseline,
            )
            self._watches.append(watch)
        self._current = watch
        return watch

    async def _verdict(self, frame: Frame, measurement: Measurement, watch: _Watch) -> FrameVerdict:
        frame_id = await self._store.frames.next_id()
        quality = measurement.quality
        score = measurement.scores[self._drift.metric]
        reference = watch.baseline.sharpness.get(self._drift.metric) if watch.baseline else None
        ratio: float | None = None
        first_below: int | None = None
        if not quality.judgeable:
            verdict = Verdict.UNJUDGEABLE
        else:
            watch.last = measurement
            watch.last_working_distance_mm = frame.working_distance_mm
            if reference is None:
                verdict = Verdict.LEARNING
                await self._learn(watch, frame, measurement)
            else:
                decision = watch.detector.fold(frame_id, score, reference)
                verdict, ratio, first_below = (
                    Verdict(decision.verdict.value),
                    decision.ratio,
                    decision.first_below,
                )
        return FrameVerdict(
            frame_id=frame_id,
            acquired_at=frame.acquired_at,
            verdict=verdict,
            condition=watch.conditions.key,
            reason=quality.reason,
            metric=self._drift.metric,
            sharpness=score.value if quality.judgeable else None,
            sharpness_standard_error=score.standard_error if quality.judgeable else None,
            baseline_sharpness=reference,
            ratio=ratio,
            laplacian_variance=measurement.laplacian_variance,
            signal_to_noise=quality.signal_to_noise,
            saturated_fraction=quality.saturated_fraction,
            working_distance_mm=frame.working_distance_mm,
            stage_position=frame.stage_position,
            reacquire_from=first_below if verdict is Verdict.OUT_OF_FOCUS else None,
        )

    async def _learn(self, watch: _Watch, frame: Frame, measurement: Measurement) -> None:
        if self._settings.policy != "learn":
            return
        learnt = watch.learner.fold(measurement.scores)
        if learnt is not None:
            await self._store_baseline(
                watch,
                Baseline(
                    conditions=watch.conditions,
                    sharpness=learnt,
                    source="learned",
                    created_at=time.time(),
                    frames=self._settings.learn_frames,
                    working_distance_mm=frame.working_distance_mm,
                ),
            )

    async def _keep(
        self, watch: _Watch, measurement: Measurement, *, source: str, working_distance_mm: float | None
    ) -> Baseline:
        baseline = Baseline(
            conditions=watch.conditions,
            sharpness={name: score.value for name, score in measurement.scores.items()},
            source=source,
            created_at=time.time(),
            frames=1,
            working_distance_mm=working_distance_mm,
        )
        await self._store_baseline(watch, baseline)
        return baseline

    async def _store_baseline(self, watch: _Watch, baseline: Baseline) -> None:
        await self._store.baselines.put(baseline)
        watch.baseline = baseline
        watch.detector.reset()
        _log.info(
            "baseline_stored",
            condition=baseline.condition,
            source=baseline.source,
            sharpness=dict(baseline.sharpness),
        )
