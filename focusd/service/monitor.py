"""From a frame to a verdict: score it, compare it with its baseline, fold it into the detector."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import structlog

from focusd.config import BaselineSettings, DriftSettings
from focusd.errors import StoreError
from focusd.focus.measure import Measurement, measure
from focusd.frame import Frame, ImagingConditions
from focusd.records import Baseline, FrameVerdict, Verdict
from focusd.service.watch import Watch
from focusd.store.database import Store

_log = structlog.get_logger(__name__)

MOST_WATCHES = 256
"""Imaging conditions that are followed; one that comes again is taken up from its baseline."""

SCORERS: Final = min(4, max(2, (os.cpu_count() or 1) - 1))
"""Frames that are scored at the same time. One core is left to the event loop, where there are many."""


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
        self._watches: list[Watch] = []
        self._current: Watch | None = None
        self._scorers = asyncio.Semaphore(SCORERS)
        self._last_turn: asyncio.Future[None] | None = None

    @property
    def baseline(self) -> Baseline | None:
        """The baseline of the imaging condition of the last frame."""
        return self._current.baseline if self._current else None

    async def measure(self, frame: Frame) -> Measurement:
        """Score a frame in a worker thread."""
        async with self._scorers:
            return await asyncio.to_thread(measure, frame.pixels, self._metrics)

    async def judge(self, frame: Frame) -> FrameVerdict:
        """Give the verdict on one frame, and keep it; the verdict says if it could not be kept.

        Several frames are scored at the same time; they are judged one by one, in the order they come.

        Raises:
            StoreError: the verdict on a file could not be kept; the file is judged again.
        """
        async with self._turn() as begins:
            measurement = await self.measure(frame)
            await begins()
            return await self._judge(frame, measurement)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Take a place in the queue; give what waits until those before have left it."""
        before, mine = self._last_turn, asyncio.get_running_loop().create_future()
        self._last_turn = mine

        async def begins() -> None:
            if before is not None:
                await asyncio.wait([before])

        try:
            yield begins
        finally:
            # Whoever gives up before its turn lets nobody pass those who are still before it.
            if before is None or before.done():
                mine.set_result(None)
            else:
                before.add_done_callback(lambda _: mine.set_result(None))

    async def _judge(self, frame: Frame, measurement: Measurement) -> FrameVerdict:
        watch = await self._watch(frame.conditions)
        verdict = await self._kept(await self._verdict(frame, measurement, watch), frame)
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
            file=verdict.file,
            kept=verdict.kept,
        )
        return verdict

    async def _kept(self, verdict: FrameVerdict, frame: Frame) -> FrameVerdict:
        """Keep a verdict if that can be done: a full disk is no reason to judge no more."""
        try:
            await self._store.frames.append(verdict, frame.file)
        except StoreError:
            if frame.file is not None:
                raise
            return replace(verdict, kept=False)
        return verdict

    @property
    def wants_reference(self) -> bool:
        """Whether a picture known to be in focus would become a baseline."""
        lacking = self._current is None or self._current.lacks_reference
        return self._settings.policy == "autofocus" and lacking

    async def adopt(
        self, conditions: ImagingConditions, verified: Measurement, working_distance_mm: float | None
    ) -> None:
        """Make a picture known to be in focus the baseline of its condition, unless there is one.

        Of a baseline that other metrics were scored for, what it holds stays as it is.
        """
        watch = await self._watch(conditions)
        if watch.lacks_reference and verified.quality.judgeable:
            await self._keep(watch, verified, source="refocus", working_distance_mm=working_distance_mm)

    def expect_focus(self) -> None:
        """Learn from the frames that come next, where there is no baseline: focus has just been found."""
        for watch in self._watches:
            if watch.lacks_reference and self._settings.policy == "autofocus":
                watch.expect_focus()

    @property
    def wants_focus(self) -> bool:
        """Whether focus must be found before there can be a baseline for frames like the last."""
        return self.wants_reference and not (self._current is not None and self._current.is_focused)

    def vouch_for(self, verdict: FrameVerdict) -> None:
        """Take a frame for in focus, whatever its score: a probe of its field has shown that it is."""
        for watch in self._watches:
            if watch.conditions.key == verdict.condition and verdict.sharpness is not None:
                watch.vouch_for(verdict.sharpness)

    def forget_suspicion(self) -> None:
        """Drop what the detectors have gathered, e.g. after a pause."""
        for watch in self._watches:
            watch.forget_suspicion()

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
                watch.set_baseline(baseline)

    async def delete(self, condition: str) -> bool:
        """Forget a baseline; tell whether there was one."""
        for watch in self._watches:
            if watch.baseline is not None and watch.baseline.condition == condition:
                watch.set_baseline(None)
        baseline = await self._store.baselines.get(condition)
        if baseline is not None:
            await self._store.references.delete_like(baseline.conditions)
        return await self._store.baselines.delete(condition)

    async def _watch(self, conditions: ImagingConditions) -> Watch:
        for watch in self._watches:
            if watch.conditions.matches(conditions):
                break
        else:
            try:
                baseline = await self._store.baselines.find(conditions)
            except StoreError:
                # Not taken for a condition without a baseline: the next frame asks again.
                self._current = Watch(conditions, self._drift, self._settings, None)
                return self._current
            conditions = baseline.conditions if baseline else conditions
            watch = Watch(conditions, self._drift, self._settings, baseline)
            self._watches.append(watch)
            del self._watches[:-MOST_WATCHES]
        self._current = watch
        return watch

    async def _verdict(self, frame: Frame, measurement: Measurement, watch: Watch) -> FrameVerdict:
        frame_id = await self._store.frames.next_id()
        quality = measurement.quality
        judgement = watch.judge(frame_id, measurement)
        score = measurement.scores[self._drift.metric] if quality.judgeable else None
        if quality.judgeable:
            watch.last, watch.last_working_distance_mm = measurement, frame.working_distance_mm
        if judgement.verdict is Verdict.LEARNING:
            try:
                await self._learn(watch, frame, measurement)
            except StoreError as error:
                # The next frame tries again.
                _log.warning("baseline_not_stored", error=str(error))
        return FrameVerdict(
            frame_id=frame_id,
            acquired_at=frame.acquired_at,
            verdict=judgement.verdict,
            condition=watch.conditions.key,
            reason=judgement.reason,
            metric=self._drift.metric,
            sharpness=score.value if score else None,
            sharpness_standard_error=score.standard_error if score else None,
            baseline_sharpness=judgement.reference,
            ratio=judgement.ratio,
            laplacian_variance=measurement.laplacian_variance,
            signal_to_noise=quality.signal_to_noise,
            saturated_fraction=quality.saturated_fraction,
            working_distance_mm=frame.working_distance_mm,
            stage_position=frame.stage_position,
            reacquire_from=judgement.reacquire_from,
            mean_level=quality.mean_level,
            contrast=quality.contrast,
            dark_fraction=quality.dark_fraction,
            file=frame.file.path if frame.file else None,
        )

    async def _learn(self, watch: Watch, frame: Frame, measurement: Measurement) -> None:
        if self._settings.policy != "learn" and not watch.is_focused:
            return
        learnt = watch.learner.fold(measurement.scores)
        if learnt is not None:
            await self._store_baseline(
                watch,
                Baseline(
                    conditions=watch.conditions,
                    sharpness=_completed(watch.baseline, learnt),
                    source="refocus" if watch.is_focused else "learned",
                    created_at=time.time(),
                    frames=watch.learner.frames_needed,
                    working_distance_mm=frame.working_distance_mm,
                ),
            )

    async def _keep(
        self, watch: Watch, measurement: Measurement, *, source: str, working_distance_mm: float | None
    ) -> Baseline:
        sharpness = {name: score.value for name, score in measurement.scores.items()}
        baseline = Baseline(
            conditions=watch.conditions,
            sharpness=sharpness if source == "operator" else _completed(watch.baseline, sharpness),
            source=source,
            created_at=time.time(),
            frames=1,
            working_distance_mm=working_distance_mm,
        )
        await self._store_baseline(watch, baseline)
        return baseline

    async def _store_baseline(self, watch: Watch, baseline: Baseline) -> None:
        await self._store.baselines.put(baseline)
        watch.set_baseline(baseline)
        _log.info(
            "baseline_stored",
            condition=baseline.condition,
            source=baseline.source,
            sharpness=dict(baseline.sharpness),
        )


def _completed(known: Baseline | None, sharpness: Mapping[str, float]) -> dict[str, float]:
    """Add what a baseline lacks: only an operator replaces what it holds."""
    return {**sharpness, **(known.sharpness if known else {})}
