"""Each look of a refocus is one scan; it may last longer, and is told apart when it does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from focusd.config import RegionSettings, ScanSettings
from focusd.errors import ScanRefusedError
from focusd.focus.measure import Measurement, measure
from focusd.frame import Frame, ImagingConditions, ScanRequest
from focusd.records import RefocusScan, ScanRole
from focusd.service.looks import Looks, UnusablePictureError
from focusd.sources.scan import ScanSource
from tests.fake_microscope import FakeMicroscope

HALF = ScanSettings(
    width=192, height=192, focus_region=RegionSettings(x=0, y=0, width=96, height=96), dwell_time_us=2.0
)


@dataclass
class Choosy(FakeMicroscope):
    """Knows some dwell times only: refuses what is longer, or takes the longest it has."""

    longest_us: float = 1e9
    refuses: bool = False
    asked_us: list[float] = field(default_factory=list)

    async def scan(self, request: ScanRequest) -> Frame:
        """Scan within its means."""
        self.asked_us.append(request.dwell_time_us)
        if self.refuses and request.dwell_time_us > self.longest_us:
            raise ScanRefusedError("no such speed")
        return await super().scan(replace(request, dwell_time_us=min(request.dwell_time_us, self.longest_us)))


async def measured(frame: Frame) -> Measurement:
    """Score at once."""
    return measure(frame.pixels, ("log_energy",))


def looking(microscope: FakeMicroscope, settings: ScanSettings = HALF) -> tuple[Looks, list[RefocusScan]]:
    """Give the looks of a refocus, and where their records go."""
    scans: list[RefocusScan] = []

    def note(scan: RefocusScan, _: ImagingConditions) -> None:
        scans.append(scan)

    source = ScanSource(settings)
    return Looks(microscope, source, measured, metric="log_energy", max_scans=12, on_scan=note), scans


async def test_a_longer_look_is_asked_counted_and_told_apart() -> None:
    """Its dwell time is in the record and its dose counted; conditions stay those of the usual looks."""
    microscope = Choosy()
    looks, scans = looking(microscope)

    first = await looks.at(9.0, ScanRole.START)
    longer = await looks.at(9.01, ScanRole.SEARCH, dwell_factor=4.0)

    assert microscope.asked_us == [2.0, 8.0]
    assert [scan.dwell_time_us for scan in scans] == [2.0, 8.0]
    assert scans[1].beam_time_s == pytest.approx(4.0 * scans[0].beam_time_s)
    assert longer.spectrum.dwell_time_us == 8.0
    assert looks.is_usual(first)
    assert not looks.is_usual(longer)
    assert looks.conditions is not None
    assert looks.conditions.dwell_time_us == 2.0


async def test_a_microscope_that_refuses_the_dwell_time_is_asked_once() -> None:
    """Then the usual scan is taken, and longer ones are not asked for again."""
    microscope = Choosy(longest_us=2.0, refuses=True)
    looks, scans = looking(microscope)

    with capture_logs() as events:
        for _ in range(2):
            await looks.at(9.0, ScanRole.SEARCH, dwell_factor=2.0)

    assert microscope.asked_us == [4.0, 2.0, 2.0]
    assert [scan.dwell_time_us for scan in scans] == [2.0, 2.0]
    assert [event["event"] for event in events] == ["longer_scan_refused"]


async def test_a_microscope_that_refuses_every_scan_says_so() -> None:
    """What is wrong is not the dwell time."""
    looks, _ = looking(Choosy(longest_us=0.5, refuses=True))

    with pytest.raises(ScanRefusedError, match="no such speed"):
        await looks.at(9.0, ScanRole.SEARCH, dwell_factor=4.0)


async def test_a_dwell_time_rounded_to_what_there_is_counts_as_it_was() -> None:
    """The readback goes into spectrum, record and dose."""
    looks, scans = looking(Choosy(longest_us=5.0))

    await looks.at(9.0, ScanRole.START)
    seen = await looks.at(9.0, ScanRole.SEARCH, dwell_factor=4.0)

    assert seen.spectrum.dwell_time_us == scans[1].dwell_time_us == 5.0
    assert scans[1].beam_time_s == pytest.approx(2.5 * scans[0].beam_time_s)


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [(HALF, 4.0), (HALF.model_copy(update={"focus_region": "frame"}), 1.0)],
)
def test_a_look_never_costs_more_than_a_frame(settings: ScanSettings, allowed: float) -> None:
    """A quarter of the frame may be looked at four times as long, all of it not at all."""
    assert ScanSource(settings).allowed(16.0) == pytest.approx(allowed)
    assert ScanSource(settings).allowed(0.5) == 1.0


@dataclass
class Flashing(FakeMicroscope):
    """Gives white pictures now and then."""

    white: set[int] = field(default_factory=set)

    async def scan(self, request: ScanRequest) -> Frame:
        """Scan, or flash."""
        frame = await super().scan(request)
        return replace(frame, pixels=np.full_like(frame.pixels, 255)) if self.scans in self.white else frame


async def test_a_picture_that_tells_nothing_is_taken_once_more() -> None:
    """A flash of charging passes; what is white again ends the search."""
    microscope = Flashing(white={2, 5, 6})
    looks, scans = looking(microscope)

    await looks.at(9.0, ScanRole.START)
    seen = await looks.at(9.0, ScanRole.SEARCH)
    assert seen.quality.judgeable
    assert [scan.reason is None for scan in scans] == [True, False, True]

    await looks.at(9.0, ScanRole.SEARCH)
    with pytest.raises(UnusablePictureError, match="cannot be judged: blank"):
        await looks.at(9.0, ScanRole.SEARCH)
    assert len(scans) == 5, "one picture in a run is taken again, not each"
