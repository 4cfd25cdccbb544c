"""Focus is lost when enough of the last frames are below the baseline by more than noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusd.config import DriftSettings
from focusd.focus.drift import DETECTORS, DriftDetector, DriftState, RatioDetector, make_detector
from focusd.focus.spectrum import Score

OK, LOW = Score(0.9, 0.01), Score(0.5, 0.01)


def verdicts(detector: RatioDetector, scores: str) -> str:
    """Fold ``+`` (good) and ``-`` (low) frames; give i, s or o for each verdict."""
    frames = [detector.fold(i, OK if sign == "+" else LOW, 1.0) for i, sign in enumerate(scores)]
    return "".join(decision.verdict.value[0] for decision in frames)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("+++++", "iiiii"),
        ("+-+++-+++", "isiiisiii"),
        ("--", "so"),
        ("-+-", "sio"),
        ("-++-", "siis"),
        ("---+--", "sooioo"),
    ],
)
def test_two_of_three(frames: str, expected: str) -> None:
    """Two frames below among three raise the alarm; a good frame never does."""
    assert verdicts(RatioDetector(0.7, 2, 3), frames) == expected


def test_the_run_is_known_from_its_first_frame() -> None:
    """What must be acquired again begins at the first frame below, through gaps and past the window."""
    detector = RatioDetector(0.7, 2, 3)

    decisions = [detector.fold(10 + i, LOW if sign == "-" else OK, 1.0) for i, sign in enumerate("+-+-----")]

    assert [decision.first_below for decision in decisions] == [None, *[11] * 7]


def test_a_run_ends_when_the_window_is_clean() -> None:
    """Three good frames in a row start afresh."""
    detector = RatioDetector(0.7, 2, 3)

    decisions = [detector.fold(i, LOW if sign == "-" else OK, 1.0) for i, sign in enumerate("-+++-")]

    assert [decision.first_below for decision in decisions] == [0, 0, 0, None, 4]


def test_a_score_that_noise_explains_is_not_below() -> None:
    """Under the threshold by less than its standard error, a frame is not counted."""
    detector = RatioDetector(0.7, 1, 1)

    assert detector.fold(1, Score(0.65, 0.06), 1.0).verdict is DriftState.IN_FOCUS
    assert detector.fold(2, Score(0.65, 0.04), 1.0).verdict is DriftState.OUT_OF_FOCUS


def test_reset_forgets() -> None:
    """After a refocus old frames no longer count."""
    detector = RatioDetector(0.7, 2, 3)
    detector.fold(1, LOW, 1.0)
    detector.reset()

    decision = detector.fold(2, LOW, 1.0)

    assert (decision.verdict, decision.first_below) == (DriftState.SUSPECT, 2)


def test_the_ratio_is_to_the_baseline() -> None:
    """The ratio is reported as it is."""
    assert RatioDetector(0.7, 2, 3).fold(1, Score(3.0, 0.1), 4.0).ratio == 0.75


@pytest.mark.parametrize("reference", [0.0, -1.0])
def test_a_baseline_must_be_positive(reference: float) -> None:
    """A ratio to nothing means nothing."""
    with pytest.raises(ValueError, match="must be positive"):
        RatioDetector(0.7, 2, 3).fold(1, OK, reference)


@pytest.mark.parametrize("settings", [(0.0, 1, 1), (1.0, 1, 1), (0.7, 0, 3), (0.7, 4, 3)])
def test_settings_that_cannot_work_are_refused(settings: tuple[float, int, int]) -> None:
    """Thresholds and counts that make no sense are refused at once."""
    with pytest.raises(ValueError, match="must be"):
        RatioDetector(*settings)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(0, 4))
def test_the_alarm_is_k_of_n(frames: list[bool], needed: int, more: int) -> None:
    """The alarm is raised exactly when a frame below completes k of the last n."""
    detector = RatioDetector(0.7, needed, needed + more)

    for i, low in enumerate(frames):
        lost = low and sum(frames[max(0, i + 1 - needed - more) : i + 1]) >= needed
        decision = detector.fold(i, LOW if low else OK, 1.0)
        assert (decision.verdict is DriftState.OUT_OF_FOCUS) == lost


SETTINGS = DriftSettings()


def made(name: str) -> DriftDetector:
    """Make a detector as the daemon does."""
    return make_detector(name, SETTINGS)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_notices_a_loss_and_recovers(name: str) -> None:
    """A third of the reference is an alarm within 20 frames, named from its first; good frames end it."""
    detector = made(name)
    good, lost = [Score(1.02, 0.02), Score(1.06, 0.02)] * 30, [Score(0.35, 0.02)] * 20

    decisions = [detector.fold(i, score, 1.0) for i, score in enumerate(good + lost + good)]

    alarms = [i for i, one in enumerate(decisions) if one.verdict is DriftState.OUT_OF_FOCUS]
    assert alarms
    assert 60 <= min(alarms) <= max(alarms) < 80
    assert decisions[alarms[0]].first_below == 60
    assert (decisions[-1].verdict, decisions[-1].first_below) == (DriftState.IN_FOCUS, None)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_detector_cares_for_content(name: str) -> None:
    """Frames in focus whose content makes them scatter by a tenth raise no alarm in a thousand."""
    detector = made(name)
    values = np.exp(np.random.default_rng(4).normal(0.0, 0.1, 1000))

    verdicts = {detector.fold(i, Score(value, 0.02), 1.0).verdict for i, value in enumerate(values)}

    assert DriftState.OUT_OF_FOCUS not in verdicts


@pytest.mark.parametrize("name", ["cusum", "ewma", "both"])
def test_a_chart_notices_a_loss_that_the_ratio_does_not(name: str) -> None:
    """Four fifths of the reference for good: no frame is below 0.72, yet the charts add it up."""
    lost = [Score(0.8, 0.01)] * 40

    def states(detector: DriftDetector) -> set[DriftState]:
        steady = [Score(1.0, 0.01)] * 30
        return {detector.fold(i, score, 1.0).verdict for i, score in enumerate(steady + lost)}

    chart = make_detector(name, SETTINGS.model_copy(update={"ewma_limit": 5.0}))
    assert DriftState.OUT_OF_FOCUS in states(chart)
    assert states(made("ratio")) == {DriftState.IN_FOCUS}


def test_a_frame_a_little_below_is_suspect_and_no_evidence() -> None:
    """Between the two shares of the baseline frames are suspect for good, teach, and raise no alarm."""
    detector = RatioDetector(0.72, 3, 4, suspect_ratio=0.78)

    decisions = [detector.fold(i, Score(value, 0.0), 1.0) for i, value in enumerate([0.75] * 6 + [0.7])]

    assert {one.verdict for one in decisions} == {DriftState.SUSPECT}
    assert [one.may_teach for one in decisions] == [True] * 6 + [False]
    assert [one.first_below for one in decisions[4:]] == [4, 5, 6]


def test_the_suspect_share_is_not_under_the_other() -> None:
    """A frame that counts towards the alarm is suspect; the settings are taken so, whatever they say."""
    with pytest.raises(ValueError, match="suspect_ratio must be"):
        RatioDetector(0.72, 3, 4, suspect_ratio=0.7)

    strict = make_detector("ratio", SETTINGS.model_copy(update={"threshold_ratio": 0.9}))
    assert strict.fold(1, Score(0.85, 0.0), 1.0).verdict is DriftState.SUSPECT


def test_both_is_as_quick_as_the_ratio_at_a_marked_loss() -> None:
    """The third frame of a third of the reference is the alarm, and the first of them is named."""
    detector = made("both")
    frames = [Score(1.0, 0.01)] * 30 + [Score(0.35, 0.01)] * 3

    decisions = [detector.fold(i, score, 1.0) for i, score in enumerate(frames)]

    states = [DriftState.SUSPECT, DriftState.SUSPECT, DriftState.OUT_OF_FOCUS]
    assert [one.verdict for one in decisions[30:]] == states
    assert decisions[-1].first_below == 30


@given(
    st.sampled_from(sorted(DETECTORS)),
    st.lists(st.floats(0.01, 3.0), max_size=60),
)
def test_only_a_frame_below_its_reference_is_called_bad(name: str, values: list[float]) -> None:
    """Whatever came before, a frame at or above the reference is in focus."""
    detector = made(name)

    for i, value in enumerate(values):
        decision = detector.fold(i, Score(value, 0.0), 1.0)
        assert value < 1.0 or decision.verdict is DriftState.IN_FOCUS
        assert decision.verdict is DriftState.IN_FOCUS or decision.first_below is not None


@given(st.sampled_from(sorted(DETECTORS)), st.lists(st.floats(0.01, 3.0), max_size=40))
def test_a_reset_detector_raises_the_alarm_afresh(name: str, values: list[float]) -> None:
    """After a refocus a single bad frame is not enough for any of them."""
    detector = made(name)
    for i, value in enumerate(values):
        detector.fold(i, Score(value, 0.0), 1.0)
    detector.reset()

    decision = detector.fold(99, Score(0.3, 0.0), 1.0)

    assert decision.verdict is not DriftState.OUT_OF_FOCUS
    assert decision.first_below == 99


@pytest.mark.parametrize("name", ["cusum", "ewma"])
def test_a_chart_needs_a_positive_reference(name: str) -> None:
    """A deviation from nothing means nothing."""
    with pytest.raises(ValueError, match="must be positive"):
        made(name).fold(1, OK, 0.0)


def test_an_unknown_detector_lists_the_known() -> None:
    """A misspelt detector is answered with those there are."""
    with pytest.raises(ValueError, match="unknown detector 'sum'; known are both, ratio, cusum, ewma"):
        made("sum")
