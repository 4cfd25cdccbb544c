"""The mean of several images, without numpy."""

from __future__ import annotations

import sys
from array import array
from dataclasses import replace

from .instrument import Image


def mean(images: list[Image]) -> Image:
    """Give the mean of images of one shape, in plain Python: about a second for 10 million pixels."""
    first = images[0]
    if len(images) == 1:
        return first
    code = "B" if first.bits_per_pixel == 8 else "H"
    rows = [array(code, bytes(image.pixels)) for image in images]
    if code == "H" and sys.byteorder == "big":
        for row in rows:
            row.byteswap()
    half, count = len(rows) // 2, len(rows)
    summed = array(code, ((sum(values) + half) // count for values in zip(*rows)))
    if code == "H" and sys.byteorder == "big":
        summed.byteswap()
    return replace(first, pixels=summed.tobytes())
