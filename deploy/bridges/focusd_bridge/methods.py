"""What each method does: parameters checked, the instrument called through its owner, results checked."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Callable

from .errors import InstrumentError, MethodError, OutOfRangeError
from .instrument import Image, Instrument, Json, Pixels, Scan
from .mean import mean
from .messages import Params, tidy
from .owner import Owner

PROTOCOL = 1

log = logging.getLogger("focusd_bridge")


class Methods:
    """The methods of PROTOCOL.md but ``subscribe``, which is the connection's own.

    Args:
        instrument: What they are carried out on.
        owner: The thread that calls it.
        begin_to_watch: Called by that thread before a client subscribes.
    """

    def __init__(self, instrument: Instrument, owner: Owner, begin_to_watch: Callable[[], None]) -> None:
        self._instrument = instrument
        self._owner = owner
        self._begin_to_watch = begin_to_watch
        self._freezing = threading.Lock()
        self._frozen_for: list[object] = []

    def answer(self, client: object, method: str, params: Params) -> tuple[Json, Pixels]:
        """Carry out a request; ``client`` is who asks.

        Raises:
            BridgeError: what the client is to be told.
            Exception: the instrument failed.
        """
        if method == "hello":
            return self._hello(), b""
        if method == "get_state":
            return self._owner.call(method, self._state, self._instrument.answer_s), b""
        if method == "set_working_distance":
            return self._move(params.number("working_distance_mm")), b""
        if method == "scan":
            return self._scan(params.scan())
        if method not in self._instrument.capabilities:
            raise MethodError("there is no such method")
        return self._optional(client, method, params), b""

    def forget(self, client: object) -> None:
        """End what goes with a client's connection."""
        if client in self._frozen_for:
            try:
                self._freeze(client, frozen=False)
            except Exception:
                log.exception("automatic contrast could not be let go")

    def _hello(self) -> Json:
        instrument = self._instrument
        return {
            "protocol": PROTOCOL,
            "vendor": instrument.vendor,
            "model": instrument.model,
            "serial": instrument.serial,
            "software_version": instrument.software_version,
            "capabilities": instrument.capabilities,
            "limits": {"working_distance_mm": list(instrument.limits_mm)},
        }

    def _state(self) -> Json:
        return _checked_state(self._instrument.get_state())

    def _move(self, wanted_mm: float) -> Json:
        low_mm, high_mm = self._instrument.limits_mm
        if not low_mm <= wanted_mm <= high_mm:
            raise OutOfRangeError(f"{wanted_mm:.9g} mm is not within {low_mm:.9g} and {high_mm:.9g} mm")
        readback_mm = self._owner.call(
            "set_working_distance",
            lambda: self._instrument.set_working_distance(wanted_mm),
            self._instrument.settle_s,
        )
        return _checked_state({"working_distance_mm": readback_mm})

    def _scan(self, scan: Scan) -> tuple[Json, Pixels]:
        timeout_s = 2 * scan.beam_time_s + self._instrument.scan_margin_s
        return self._owner.call("scan", lambda: self._take(scan), timeout_s)

    def _take(self, scan: Scan) -> tuple[Json, Pixels]:
        """Scan so often as asked for and give the mean; state and images are one call for the owner."""
        state = self._state()
        begun_at = time.monotonic()
        one = replace(scan, frames=1)
        rows, columns = scan.region.height, scan.region.width
        images = [self._instrument.scan(one).checked(rows, columns) for _ in range(scan.frames)]
        started_at, finished_at = images[0].started_at, images[-1].finished_at
        image = replace(
            mean(images),
            started_at=begun_at if started_at is None else started_at,
            finished_at=time.monotonic() if finished_at is None else finished_at,
        )
        return told_of(image, state)

    def _optional(self, client: object, method: str, params: Params) -> Json:
        instrument, owner = self._instrument, self._owner
        if method == "ping":
            return {}
        if method == "subscribe":
            owner.call(method, self._begin_to_watch, instrument.answer_s)
            return {}
        if method == "freeze_auto_contrast":
            frozen = params.flag("frozen")
            self._freeze(client, frozen=frozen)
            return {"frozen": frozen}
        if method == "blank_beam":
            blanked = params.flag("blanked")
            owner.call(method, lambda: instrument.blank_beam(blanked=blanked), instrument.answer_s)
            return {"blanked": blanked}
        if method == "set_stigmator":
            wanted = params.number("x_percent"), params.number("y_percent")
            if max(map(abs, wanted)) > 100:
                raise OutOfRangeError("the stigmator goes from -100 to 100 %")
            x_percent, y_percent = owner.call(
                method, lambda: instrument.set_stigmator(*wanted), instrument.answer_s
            )
        else:
            x_percent, y_percent = owner.call(method, instrument.get_stigmator, instrument.answer_s)
        return {"x_percent": float(x_percent), "y_percent": float(y_percent)}

    def _freeze(self, client: object, *, frozen: bool) -> None:
        """Hold automatic contrast for a client; it is let go with the last one that holds it."""
        with self._freezing:
            others = [each for each in self._frozen_for if each is not client]
            self._frozen_for = [*others, client] if frozen else others
            if not others:
                self._owner.call(
                    "freeze_auto_contrast",
                    lambda: self._instrument.freeze_auto_contrast(frozen=frozen),
                    self._instrument.answer_s,
                )


def told_of(image: Image, state: Json) -> tuple[Json, Pixels]:
    """Give what is told of an image, and its pixels.

    Raises:
        InstrumentError: the state has no working distance.
    """
    pixels = memoryview(image.pixels).cast("B")
    now = time.monotonic()
    header = {
        "shape": [image.rows, image.columns],
        "dtype": "uint8" if image.bits_per_pixel == 8 else "uint16",
        "started_at": now if image.started_at is None else image.started_at,
        "finished_at": now if image.finished_at is None else image.finished_at,
        "state": _checked_state({**state, **(image.state or {})}),
        "payload_bytes": pixels.nbytes,
    }
    return header, pixels


def _checked_state(state: Json) -> Json:
    found = {name: tidy(value) for name, value in state.items()}
    if found.get("working_distance_mm") is None:
        raise InstrumentError("the instrument does not tell its working distance")
    return found
