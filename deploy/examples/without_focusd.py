"""The loop that everybody has: all tiles, one after the other. The other examples are this one and focusd."""

from __future__ import annotations

from lab import Acquisition, arguments

with Acquisition(arguments(__doc__)) as acquisition:
    for tile in acquisition.tiles:
        acquisition.take(tile)
