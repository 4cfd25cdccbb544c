"""Which file is complete, decided from observations alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from focusd.frame import FrameFile
from focusd.sources.folder.readiness import Readiness, Sighting

SETTLE_S = 1.0
GIVE_UP_S = 8.0
ALL = 1000


def make(*, trusts_renames: bool = True) -> Readiness:
    """Make one with round figures."""
    return Readiness(settle_s=SETTLE_S, give_up_s=GIVE_UP_S, trusts_renames=trusts_renames)


def seen(name: str = "a.tif", *, size_bytes: int = 100, mtime_ns: int = 5, inode_ns: int = 5) -> Sighting:
    """Describe a file."""
    return Sighting(FrameFile(name, size_bytes, mtime_ns), name, inode_ns)


def names(readiness: Readiness, now_s: float, limit: int = ALL) -> list[str]:
    """What is ready."""
    return [sighting.file.path for sighting in readiness.ready(now_s, limit)]


def test_a_file_is_ready_when_it_has_not_changed_for_the_settle_time() -> None:
    """Being seen again does not begin the time anew; a change does."""
    readiness = make()
    readiness.see([seen(size_bytes=10)], 0.0)
    readiness.see([seen(size_bytes=10)], 0.9)
    assert names(readiness, 0.99) == []
    assert names(readiness, 1.0) == ["a.tif"]

    readiness.see([seen(size_bytes=20)], 1.5)
    assert names(readiness, 2.4) == []
    readiness.see([seen(size_bytes=20, mtime_ns=6, inode_ns=6)], 2.4)
    assert names(readiness, 3.3) == []
    assert names(readiness, 3.4) == ["a.tif"]


def test_a_file_renamed_into_place_is_ready_at_once() -> None:
    """Its inode was changed after its content; that of a file seen before does not count."""
    readiness = make()
    readiness.see([seen("whole.tif", inode_ns=6), seen("growing.tif")], 0.0)
    assert names(readiness, 0.0) == ["whole.tif"]

    readiness.see([seen("growing.tif", size_bytes=200, mtime_ns=7, inode_ns=8)], 0.5)
    assert names(readiness, 1.0) == ["whole.tif"]


def test_on_a_share_nothing_is_ready_at_once() -> None:
    """There the times of a file that is being written may come late."""
    readiness = make(trusts_renames=False)
    readiness.see([seen(inode_ns=9)], 0.0)

    assert names(readiness, 0.9) == []
    assert names(readiness, 1.0) == ["a.tif"]


def test_an_empty_file_is_left_to_whoever_made_it_for_longer() -> None:
    """Even one that appeared whole."""
    readiness = make()
    readiness.see([seen(size_bytes=0, inode_ns=9)], 0.0)

    assert names(readiness, GIVE_UP_S - 0.1) == []
    assert names(readiness, GIVE_UP_S) == ["a.tif"]


def test_the_order_is_that_of_writing_and_then_of_names() -> None:
    """Whatever order they were seen in; a limit keeps the first."""
    readiness = make()
    given_order = [seen("b", mtime_ns=2), seen("c", mtime_ns=1), seen("a", mtime_ns=2), seen("d", mtime_ns=3)]
    readiness.see(given_order, 0.0)

    assert names(readiness, 1.0) == ["c", "a", "b", "d"]
    assert names(readiness, 1.0, limit=2) == ["c", "a"]


def test_a_file_that_cannot_be_read_is_tried_ever_less_often_and_a_last_time() -> None:
    """The pauses grow, and the last try is when the time it is given has passed."""
    readiness = make()
    readiness.see([seen()], 0.0)
    tries: list[float] = []
    now_s = SETTLE_S
    while True:
        tries.append(now_s)
        if readiness.is_last_try("a.tif", now_s):
            break
        readiness.postpone("a.tif", now_s)
        due_s = readiness.next_due_s()
        assert due_s is not None
        assert names(readiness, due_s - 0.01) == []
        now_s = due_s

    assert tries == [1.0, 3.0, 7.0, GIVE_UP_S]


def test_one_that_stays_unreadable_is_tried_for_ever_and_named_once() -> None:
    """Its rights may be mended without a change that shows."""
    readiness = make()
    readiness.see([seen()], 0.0)
    assert readiness.name("a.tif")
    readiness.postpone("a.tif", 100.0)

    assert names(readiness, 101.9) == []
    assert names(readiness, 100.0 + GIVE_UP_S) == ["a.tif"]
    assert not readiness.name("a.tif")


def test_what_is_gone_is_no_candidate_any_more() -> None:
    """It is told which those were, once."""
    readiness = make()
    readiness.see([seen("a"), seen("b")], 0.0)

    assert readiness.keep(["b", "c"]) == ["a"]
    assert readiness.keep(["b", "c"]) == []
    assert names(readiness, 1.0) == ["b"]
    assert readiness.drop("b")
    assert not readiness.drop("b")
    assert (len(readiness), readiness.next_due_s()) == (0, None)


@settings(deadline=None, max_examples=100)
@given(
    writes=st.lists(st.tuples(st.floats(0.01, 3.0), st.integers(1, 50)), min_size=1, max_size=12),
    looks=st.lists(st.floats(0.01, 1.5), min_size=1, max_size=40),
)
def test_however_a_writer_dawdles_what_is_ready_has_stood_still(
    writes: list[tuple[float, int]], looks: list[float]
) -> None:
    """At any time of looking, a ready file is as it was seen, and was so for the settle time."""
    readiness = make()
    moments: list[tuple[float, int]] = []
    at_s, size_bytes = 0.0, 0
    for pause_s, grown in writes:
        at_s, size_bytes = at_s + pause_s, size_bytes + grown
        moments.append((at_s, size_bytes))

    now_s = 0.0
    for pause_s in looks:
        now_s += pause_s
        past = [moment for moment in moments if moment[0] <= now_s]
        if not past:
            continue
        changed_s, size_bytes = past[-1]
        ns = round(changed_s * 1e9)
        readiness.see([seen(size_bytes=size_bytes, mtime_ns=ns, inode_ns=ns)], now_s)
        if names(readiness, now_s):
            assert now_s - changed_s >= SETTLE_S
            assert readiness.ready(now_s, 1)[0].file.size_bytes == size_bytes
