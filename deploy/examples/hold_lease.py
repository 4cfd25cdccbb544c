"""A few tiles in a row that must not be disturbed: the lens stands still while they are scanned.

focusd: ``frames.source = "push"``, ``refocus.mode = "immediate"``. A scan lease lasts from the first to the
last of them and renews itself; what became due meanwhile is done when it ends, and at the checkpoint between
two leases the lens goes to the focus predicted for the next few. So they must be few beside those over which
the ground leaves the depth of field, and quick beside the time in which focus drifts out of it.
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
HELD_TILES = 2


def take_held(acquisition: Acquisition, focusd: Client, held: list[int]) -> tuple[dict[int, int], bool]:
    """Take tiles while the lens stands still; give their frame ids, and whether it did not, after all."""
    frames = {}
    with focusd.hold("tiles in a row") as hold:
        for tile in held:
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
    """Take all tiles, a few under each lease, and those again that were lost."""
    options = arguments(__doc__)
    focusd = Client(options.focusd)
    frames: dict[int, int] = {}
    takes: Counter[int] = Counter()
    focusd.wait_ready()
    with Acquisition(options) as acquisition:
        due = list(acquisition.tiles)
        while True:
            held = due[:HELD_TILES]
            middle = acquisition.position_mm(held[len(held) // 2]) if held else None
            done = focusd.checkpoint(middle)
            if done.reacquire_from is not None:
                lost = {tile for tile, frame in frames.items() if frame >= done.reacquire_from}
                again = {tile for tile in lost if takes[tile] < TAKES_AT_MOST}
                due = sorted(again | set(due))
                continue
            if not held:
                break
            taken, was_disturbed = take_held(acquisition, focusd, held)
            takes.update(held)
            frames.update(taken)
            disturbed = [tile for tile in held if was_disturbed and takes[tile] < TAKES_AT_MOST]
            due = [*disturbed, *due[HELD_TILES:]]


if __name__ == "__main__":
    main()
