"""``focusd bridge check``: each fault of a bridge breaks its own rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from focusd.cli.bridge import bench
from focusd.cli.bridge.bench import CheckOptions
from focusd.cli.bridge.rules import RULES
from focusd.simulator.faults import Faults
from tests.loopback.bridge_check_rig import START_MM, failures, run
from tests.loopback.broken_bridge import Exchange, Habits, Json, broken, framed

OPTIONS = CheckOptions(beyond_limits=True, side_px=128, timeout_s=0.6)


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up moves and scans soon."""
    monkeypatch.setattr(bench, "SETTLE_S", 0.0)
    monkeypatch.setattr(bench, "SCAN_MARGIN_S", 0.0)


def answer(method: str, **changes: Any) -> Callable[[Exchange], bytes]:
    """Change values of one method's result."""

    def spoil(each: Exchange) -> bytes:
        if each.method == method and "error" not in each.answer:
            each.result.update(changes)
        return framed(each.answer, each.payload)

    return spoil


def request(method: str, change: Callable[[Json], Json]) -> Callable[[Json], Json]:
    """Misunderstand the parameters of one method."""

    def spoil(asked: Json) -> Json:
        if asked["method"] != method:
            return asked
        return {**asked, "params": change(asked.get("params", {}))}

    return spoil


def refuses_unknown_keys(asked: Json) -> bytes | None:
    """Be strict where a later version may say more."""
    if "key_of_a_later_version" not in asked.get("params", {}):
        return None
    error = {"code": -32602, "message": "what is this?"}
    return framed({"jsonrpc": "2.0", "id": asked["id"], "error": error})


def text_ids_to_numbers(each: Exchange) -> bytes:
    """Make a number of every id that looks like one."""
    identification = str(each.answer["id"])
    if identification.isdigit():
        each.answer["id"] = int(identification)
    return framed(each.answer, each.payload)


def ignores_unknown_methods(each: Exchange) -> bytes:
    """Say nothing to what is not known."""
    unknown = each.answer.get("error", {}).get("code") == -32601
    return b"" if unknown else framed(each.answer, each.payload)


def other_code(old: int, new: int) -> Callable[[Exchange], bytes]:
    """Use another error code."""

    def spoil(each: Exchange) -> bytes:
        error = each.answer.get("error", {})
        if error.get("code") == old:
            error["code"] = new
        return framed(each.answer, each.payload)

    return spoil


def nonsense_is_nine(asked: Json) -> Json:
    """Take what is no number for nine millimetres."""
    value = asked.get("params", {}).get("working_distance_mm")
    if asked["method"] == "set_working_distance" and not isinstance(value, int | float):
        return {**asked, "params": {"working_distance_mm": START_MM + 0.5}}
    return asked


def limits_silently(asked: Json) -> Json:
    """Bring a value into the range in silence."""
    value = asked.get("params", {}).get("working_distance_mm")
    if asked["method"] == "set_working_distance" and isinstance(value, float):
        return {**asked, "params": {"working_distance_mm": min(max(value, 4.0), 30.0)}}
    return asked


def transposed(each: Exchange) -> bytes:
    """Say columns before rows."""
    if each.payload:
        each.result["shape"].reverse()
    return framed(each.answer, each.payload)


def without_payload_bytes(each: Exchange) -> bytes:
    """Forget to announce the pixels."""
    if each.payload:
        each.result.pop("payload_bytes")
    return framed(each.answer, each.payload)


class Kept:
    """Gives the first image again and again."""

    def __init__(self) -> None:
        self.first: tuple[Json, bytes] | None = None

    def __call__(self, each: Exchange) -> bytes:
        if each.method == "scan" and each.payload and each.result["shape"] == [128, 128]:
            self.first = self.first or (each.result, each.payload)
            each.answer["result"], payload = self.first
            return framed(each.answer, payload)
        return framed(each.answer, each.payload)


def twice(each: Exchange) -> bytes:
    """Answer every state twice."""
    data = framed(each.answer, each.payload)
    return data * 2 if each.method == "get_state" else data


def ignores_ids(each: Exchange) -> bytes:
    """Give every answer the number one."""
    each.answer["id"] = 1
    return framed(each.answer, each.payload)


def not_a_number(each: Exchange) -> bytes:
    """Tell a working distance that is none."""
    if each.method == "get_state":
        each.result["working_distance_mm"] = float("nan")
    return framed(each.answer, each.payload)


def never_settled(each: Exchange) -> bytes:
    """Answer a move at once with what was asked, wherever the lens is."""
    if each.method == "set_working_distance" and "error" not in each.answer:
        each.result["working_distance_mm"] = each.request["params"]["working_distance_mm"]
    return framed(each.answer, each.payload)


def no_ping(asked: Json) -> bytes | None:
    """Say that there is a ping, and do not know it."""
    error = {"code": -32601, "message": ""}
    return (
        framed({"jsonrpc": "2.0", "id": asked["id"], "error": error}) if asked["method"] == "ping" else None
    )


def secret_ping(asked: Json) -> bytes | None:
    """Answer what is not among the capabilities, with nothing."""
    if asked["method"] not in ("ping", "get_stigmator"):
        return None
    return framed({"jsonrpc": "2.0", "id": asked["id"], "result": {}})


def frame(**changes: Any) -> Callable[[Exchange], bytes]:
    """Tell subscribers of a frame that is not as it should be."""

    def spoil(each: Exchange) -> bytes:
        if each.method != "subscribe":
            return framed(each.answer, each.payload)
        times = {"started_at": 100.0, "finished_at": 100.0}
        image = {"frame_id": "1", "shape": [1, 2], "dtype": "uint8", "state": {"working_distance_mm": 9.0}}
        params = image | times | {"payload_bytes": 2} | changes
        return framed(each.answer) + framed({"jsonrpc": "2.0", "method": "frame", "params": params}, b"ab")

    return spoil


def error_for(method: str) -> Callable[[Exchange], bytes]:
    """Refuse what is among the capabilities."""

    def spoil(each: Exchange) -> bytes:
        if each.method != method:
            return framed(each.answer, each.payload)
        error = {"code": -32010, "message": "not today"}
        return framed({"jsonrpc": "2.0", "id": each.answer["id"], "error": error})

    return spoil


@dataclass
class ScansAsFrames:
    """Tell of what a client has asked for as if the owner had acquired it."""

    once_subscribed: bool = False

    def __call__(self, each: Exchange) -> bytes:
        """Send a frame along with each image."""
        data = framed(each.answer, each.payload)
        if each.method == "subscribe":
            self.once_subscribed = False
        if each.method != "scan" or self.once_subscribed or "error" in each.answer:
            return data
        params = {**each.result, "frame_id": "1"}
        return data + framed({"jsonrpc": "2.0", "method": "frame", "params": params}, each.payload)


FAULTS: list[tuple[str, Habits, set[str]]] = [
    ("protocol 2", Habits(spoil=answer("hello", protocol=2)), {"hello"}),
    ("no limits", Habits(spoil=answer("hello", limits=None)), {"hello"}),
    ("limits of another unit", Habits(spoil=answer("hello", limits={"working_distance_mm": [0.004, 0.03]})),
     {"state"}),
    ("strict about keys", Habits(answers_before=refuses_unknown_keys), {"unknown-keys"}),
    ("NaN", Habits(spoil=not_a_number), {"state"}),
    ("text of a number", Habits(spoil=answer("get_state", working_distance_mm="9.0")), {"state"}),
    ("text ids become numbers", Habits(spoil=text_ids_to_numbers), {"ids"}),
    ("ids are ignored", Habits(spoil=ignores_ids), {"unknown-keys"}),
    ("silent about methods", Habits(spoil=ignores_unknown_methods), {"unknown-method"}),
    ("own code for methods", Habits(spoil=other_code(-32601, -32000)), {"unknown-method"}),
    ("a segment is a message", Habits(reads_whole_messages_only=True), {"pieces"}),
    ("one request a segment", Habits(forgets_what_came_along=True), {"together"}),
    ("hangs on garbage", Habits(hangs_on_garbage=True), {"no-message"}),
    ("likes garbage", Habits(likes_garbage=True), {"no-message"}),
    ("dies of garbage", Habits(dies_of_garbage=True), {"no-message"}),
    ("dies of a cut connection", Habits(dies_of_a_cut=True), {"cut-off"}),
    ("moves at nonsense", Habits(spoil_request=nonsense_is_nine), {"nonsense"}),
    ("a lens that is stuck", Habits(faults=Faults(stuck_working_distance=True)), {"move"}),
    ("a lens that is stuck, and a lie",
     Habits(faults=Faults(stuck_working_distance=True), spoil=never_settled), {"move"}),
    ("a readback in metres", Habits(spoil=answer("set_working_distance", working_distance_mm=0.009)),
     {"stay", "move"}),
    ("limits in silence", Habits(spoil_request=limits_silently), {"out-of-range"}),
    ("own code for limits", Habits(spoil=other_code(-32002, -32602)), {"out-of-range"}),
    ("beam off", Habits(faults=Faults(beam_off=True)), {"scan"}),
    ("transposed", Habits(spoil=transposed), {"not-square"}),
    ("always square", Habits(spoil_request=request("scan", lambda p: {**p, "height": p["width"]})),
     {"not-square"}),
    ("payload not announced", Habits(spoil=without_payload_bytes), {"scan"}),
    ("pixels lost", Habits(faults=Faults(lost_pieces=1)), {"scan"}),
    ("image without a state", Habits(spoil=answer("scan", state=None)), {"scan"}),
    ("image with another state", Habits(spoil=answer("scan", state={"working_distance_mm": 9.2})), {"scan"}),
    ("float pixels", Habits(spoil=answer("scan", dtype="float32")), {"scan"}),
    ("no region", Habits(spoil_request=request("scan", lambda p: {**p, "region": None})),
     {"region", "region-outside"}),
    ("kept images", Habits(spoil=Kept()), {"fresh"}),
    ("times run backwards", Habits(spoil=answer("scan", started_at=2.0, finished_at=1.0)), {"scan"}),
    ("no averaging", Habits(spoil_request=request("scan", lambda p: p | {"frames": -p.get("frames", -1)})),
     {"averaging"}),
    ("a ping that is not there", Habits(answers_before=no_ping), {"ping"}),
    ("a stigmator set elsewhere", Habits(spoil=answer("set_stigmator", x_percent=3.0)), {"stigmator"}),
    ("a stigmator of words", Habits(spoil=answer("get_stigmator", x_percent="left")), {"stigmator"}),
    ("contrast not let go", Habits(spoil=answer("freeze_auto_contrast", frozen=True)), {"auto-contrast"}),
    ("beam stays blanked", Habits(spoil=answer("blank_beam", blanked=True)), {"blanker"}),
    ("no subscription", Habits(spoil=error_for("subscribe")), {"subscribe"}),
    ("frames to everybody", Habits(spoil=ScansAsFrames()), {"subscribe"}),
    ("scans told as frames", Habits(spoil=ScansAsFrames(once_subscribed=True)), {"subscribe"}),
    ("frames of another clock", Habits(spoil=frame(started_at=4e9, finished_at=4e9)), {"frames"}),
    ("frames without an id", Habits(spoil=frame(frame_id=None)), {"frames"}),
    ("frames without a state", Habits(spoil=frame(state=None)), {"frames"}),
    ("more than it says", Habits(answers_before=secret_ping, capabilities=()), {"capabilities"}),
    ("answers twice", Habits(spoil=twice), {"ids"}),
]  # fmt: skip


@pytest.mark.parametrize(("habits", "rules"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
async def test_each_fault_breaks_its_rule(habits: Habits, rules: set[str]) -> None:
    """The first rule broken is the fault's own, and the lens is put back if anything can."""
    async with broken(habits) as (bridge, port):
        findings = await run(port, OPTIONS)
        left_mm = bridge.server.column.working_distance_mm

    failed = failures(findings)
    assert failed, "no rule was broken"
    assert next(iter(failed)) in rules
    assert all(detail.isprintable() and detail for detail in failed.values())
    assert left_mm == pytest.approx(START_MM, abs=1e-9)


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    """A rule that nothing breaks checks nothing; the last two are about the run itself."""
    broken_rules = set().union(*(rules for _, _, rules in FAULTS))

    assert {rule.name for rule in RULES} - broken_rules <= {"quiet", "as-found"}
