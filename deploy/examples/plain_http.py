"""Plain HTTP: any language that can POST can do this; no client is needed.

focusd: ``frames.source = "push"``, ``refocus.mode = "immediate"``. Each tile is sent with ``wait=refocus``:
the answer comes at once while focus is kept, and after the refocus where it was lost.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections import Counter
from typing import Any

from lab import DWELL_NS, PIXEL_NM, SIDE_PX, Acquisition, arguments

TAKES_AT_MOST = 4


def judge(url: str, pixels: bytes) -> dict[str, Any]:
    """Send a tile and give focusd's answer."""
    query = urllib.parse.urlencode(
        {
            "wait": "refocus",
            "shape": f"{SIDE_PX},{SIDE_PX}",
            "dtype": "uint8",
            "pixel_size_nm": PIXEL_NM,
            "dwell_time_us": DWELL_NS / 1000,
        }
    )
    request = urllib.request.Request(  # noqa: S310 - an address of the operator's own
        f"{url}/v1/frames?{query}", pixels, {"Content-Type": "application/octet-stream"}
    )
    with urllib.request.urlopen(request, timeout=630.0) as response:  # noqa: S310 - as above
        answer: dict[str, Any] = json.load(response)
    return answer


def main() -> None:
    """Take all tiles, and those again that were lost."""
    options = arguments(__doc__)
    frames: dict[int, int] = {}
    takes: Counter[int] = Counter()
    with Acquisition(options) as acquisition:
        due = list(acquisition.tiles)
        while due:
            tile = due.pop(0)
            answer = judge(options.focusd, acquisition.take(tile))
            takes[tile] += 1
            frames[tile] = answer["verdict"]["frame_id"]
            if answer["reacquire_from"] is not None:
                lost = [known for known, frame in frames.items() if frame >= answer["reacquire_from"]]
                due = [tile for tile in lost if takes[tile] < TAKES_AT_MOST] + due


if __name__ == "__main__":
    main()
