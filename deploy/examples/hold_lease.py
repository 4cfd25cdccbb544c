"""A row of tiles that must not be disturbed: the lens stands still while it is scanned.

focusd: ``frames.source = "push"``, ``refocus.mode = "immediate"``. A scan lease lasts from the first to the
last tile of a row and renews itself; what became due meanwhile is done when it ends. So a row must be short
beside the time in which focus is lost.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from lab import DWELL_NS, PIXEL_NM, SIDE_PX, Acquisition, arguments

# On a microscope's computer: copy focusd_client.py beside your script instead.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "client"))

from focusd_client import Client

TAKES_AT_MOST = 4


def take_row(acquisition: Acquisition, focusd: Client, row: list[int]) -> tuple[dict[int, int], bool]:
    """Take tiles while the lens stands still; give their frame ids, and whether it did not, after all."""
    frames = {}
    with focusd.hold("row of tiles") as hold:
        for tile in row:
            judgement = focusd.judge(
                acquisition.take(tile),
                wait_for_focus=False,
                shape=(SIDE_PX, SIDE_PX),
                pixel_size_nm=PIXEL_NM,
                dwell_time_us=DWELL_NS / 1000,
            )
            frames[tile] = judgement.frame_id
    return frames, hold.was_lost


def main() -> None:
    """Take all rows, and those tiles again that were lost."""
    options = arguments(__doc__)
    focusd = Client(options.focusd)
    frames: dict[int, int] = {}
    takes: Counter[int] = Counter()
    focusd.wait_ready()
    with Acquisition(options) as acquisition:
        columns, tiles = acquisition.columns, acquisition.tiles
        due = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
        while due:
            row = due.pop(0)
            taken, was_disturbed = take_row(acquisition, focusd, row)
            takes.update(row)
            frames.update(taken)
            done = focusd.checkpoint()
            lost = set(row) if was_disturbed else set()
            if done.reacquire_from is not None:
                lost |= {tile for tile, frame in frames.items() if frame >= done.reacquire_from}
            again = sorted(tile for tile in lost if takes[tile] < TAKES_AT_MOST)
            due = [again, *due] if again else due


if __name__ == "__main__":
    main()
