"""A bridge from an instrument's own software to focusd: subclass ``Instrument``, then ``run`` it.

Nothing but the standard library, Python 3.8 or newer, because the computers of instruments are old: copy this
folder beside the bridge's own file. ``PROTOCOL.md`` says what goes over the wire, ``example_bridge.py`` shows
a whole bridge.

=============== =====================================================================
``instrument``  what a lab subclasses, and what it is asked and gives
``errors``      what an instrument may raise
``owner``       the one thread that calls the instrument
``messages``    bytes to requests and back
``connection``  one client
``bridge``      who listens, carries out requests and pushes images
``command``     options and the main loop
=============== =====================================================================

Rules kept here, so that an instrument need not:

1. One thread, the owner, calls the instrument, one call at a time; ``open`` and ``close`` too.
2. Every call has a deadline. One that is not over by then is answered with an error, and until it has come
   back every other call is refused: a vendor's software that hangs never gets a second call beside it. A
   call that could not begin in time is never begun.
3. Moves beyond ``limits_mm`` are refused before the instrument hears of them.
4. What a client sends is bounded and checked; a hostile or broken one costs its own connection.
5. Images that the instrument's owner acquires are pushed to whoever subscribed; one who reads too slowly
   misses the oldest.
"""

from .bridge import DEFAULT_PORT, Bridge
from .command import parser, run
from .errors import BeamOffError, BridgeError, BusyError, InstrumentError, InterlockError, OutOfRangeError
from .instrument import Image, Instrument, Json, Region, Scan

__all__ = [
    "DEFAULT_PORT",
    "BeamOffError",
    "Bridge",
    "BridgeError",
    "BusyError",
    "Image",
    "Instrument",
    "InstrumentError",
    "InterlockError",
    "Json",
    "OutOfRangeError",
    "Region",
    "Scan",
    "parser",
    "run",
]
