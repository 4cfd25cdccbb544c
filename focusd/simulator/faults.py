"""Faults the simulated microscope shows on demand.

A server reads its ``Faults`` each time it acts, so a test sets and clears them while clients are connected.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Faults:
    """What goes wrong, and when; the defaults are a microscope in good health."""

    answer_delay_s: float = 0.0
    """Every answer comes this much later, in real seconds."""
    silence: bool = False
    """Commands are carried out, but no answer is sent."""
    corrupt_answer_id: bool = False
    """Answers carry another identification than the request."""
    dribble: bool = False
    """Answers and image pieces trickle out in segments of a few bytes."""
    lost_pieces: int = 0
    """So many of the next image pieces are not sent; counts itself down."""
    gui_scanning_at_start: bool = False
    """A live window of the microscope's own program scans when the server starts."""
    high_voltage_blocking_s: float = 0.0
    """A synchronous change of voltage holds its session this much longer, in simulated seconds."""
    single_client: bool = False
    """One client at a time; data connections are paired without looking at ports."""
    protocol_version: str = "3.2.20"
    """What ``TcpGetVersion`` tells; commands that are newer are dropped silently."""
    version_buffer: bool = False
    """``TcpGetVersion`` answers with a fixed buffer of 64 bytes, junk after the text."""
    beam_off: bool = False
    """The beam is off whatever is commanded: frames are black."""
    stuck_working_distance: bool = False
    """Commands to the lens are accepted, but it does not move."""
    working_distance_readback: float | None = None
    """``GetWD`` tells this instead of the truth, in millimetres; NaN is allowed."""
    working_distance_offset_mm: float = 0.0
    """``GetWD`` tells this much more than the truth, in millimetres."""
