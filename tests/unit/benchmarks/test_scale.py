"""The benchmarks of scale and footprint measure what they say, on a daemon that is a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from focusd.store.database import open_store
from tests.benchmarks import footprint, scale
from tests.benchmarks.footprint import HELP, LIBRARIES, PYTHON, READY, FootprintOptions
from tests.benchmarks.scale import ScaleOptions
from tests.benchmarks.scale_history import make_history


async def test_a_made_history_is_one_that_focusd_reads(tmp_path: Path) -> None:
    """No row counts as damaged, and ids and times rise."""
    make_history_in_thread(tmp_path, 300)

    async with open_store(tmp_path, max_frames=1000, keep_days=36_500) as store:
        page = await store.frames.page(None, 300)
        refocuses = await store.refocuses.page(None, 100)
        problems = store.problems

    assert [one.frame_id for one in page] == list(range(300, 0, -1))
    assert [one.refocus_id for one in refocuses] == list(range(50, 0, -1))
    assert problems == ()


def make_history_in_thread(directory: Path, frames: int) -> None:
    """Make a history beside the test's own event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(make_history, directory, frames).result()


def test_more_work_is_measured_of_every_kind() -> None:
    """A tiny run gives a row for each size, length and number of pollers, the goals, and a picture."""
    options = ScaleOptions(
        sizes=(64, 128),
        histories=(100,),
        pollers=(1, 2),
        rates_per_s=(20.0,),
        folders=(10,),
        rounds=2,
        starts=1,
        poll_s=0.3,
        poll_rounds=1,
    )

    report = scale.run(options)

    sizes, histories, rates, pollers, folders, goals = report.tables
    assert [row[0] for row in sizes.rows] == ["64", "128"]
    assert [row[0] for row in histories.rows] == ["100"]
    assert [row[0] for row in pollers.rows] == ["aiohttp alone", "1", "2 and 100 idle"]
    assert [row[0] for row in rates.rows] == ["20"]
    assert [row[0] for row in folders.rows] == ["10"]
    assert folders.row("10")["listing, ms"] != 0.0
    figures = [cell for table in (sizes, histories, rates) for row in table.rows for cell in row[1:]]
    assert all(isinstance(cell, float) and cell > 0 for cell in figures)
    assert len(goals.rows) == 8
    assert len(report.draw().axes) == 2


def test_what_the_daemon_takes_is_measured() -> None:
    """A tiny run gives times of start, memory before and after, and a line for each goal."""
    report = footprint.run(FootprintOptions(starts=1, idle_s=0.1, frames=10, warm_up=5))

    start, memory, goals = report.tables
    assert [row[0] for row in start.rows] == [READY, LIBRARIES, HELP, PYTHON]
    assert all(isinstance(cell, float) and cell > 0 for row in start.rows for cell in row[1:])
    assert [row[0] for row in memory.rows] == ["0", "5", *(str(number) for number in range(6, 16))]
    assert all(isinstance(row[1], float) and 20 < row[1] < 400 for row in memory.rows)
    assert "focusd" in start.note
    assert len(goals.rows) == 6
    assert len(report.draw().axes) == 2
