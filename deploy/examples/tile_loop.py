"""A tile loop as in SBEMimage or SerialEM: send each tile, and say where one tile ends and the next begins.

focusd: ``frames.source = "push"``, ``refocus.mode = "checkpoint"``. The loop waits for no verdict. Before
each tile it comes to a checkpoint and says where that tile is: focusd does what is due, mostly nothing, tells
which tiles to take again, and brings the lens to the focus that it predicts there.
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


def main() -> None:
    """Take all tiles, and those again that were lost."""
    options = arguments(__doc__)
    focusd = Client(options.focusd)
    frames: dict[int, int] = {}
    takes: Counter[int] = Counter()
    focusd.wait_ready()
    with Acquisition(options) as acquisition:
        due = list(acquisition.tiles)
        while True:
            done = focusd.checkpoint(acquisition.position_mm(due[0]) if due else None)
            if done.reacquire_from is not None:
                lost = [known for known, frame in frames.items() if frame >= done.reacquire_from]
                again = [tile for tile in lost if takes[tile] < TAKES_AT_MOST]
                due = again + [tile for tile in due if tile not in again]
                continue
            if not due:
                break
            tile = due.pop(0)
            judgement = focusd.judge(
                acquisition.take(tile),
                wait_for_focus=False,
                shape=(SIDE_PX, SIDE_PX),
                pixel_size_nm=PIXEL_NM,
                dwell_time_us=DWELL_NS / 1000,
            )
            takes[tile] += 1
            frames[tile] = judgement.frame_id


if __name__ == "__main__":
    main()
