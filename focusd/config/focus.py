"""When focus counts as lost, and what is done then."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from focusd.config.base import Fraction, Positive, Section


class BaselineSettings(Section):
    """How the reference sharpness comes about."""

    policy: Literal["autofocus", "learn", "manual"] = "autofocus"
    """``autofocus``: focus the first frame and keep its verified sharpness; ``learn``: take the median of
    the first frames; ``manual``: wait for the operator."""
    learn_frames: Annotated[int, Field(ge=1, le=1000)] = 10
    """Judgeable frames that policy ``learn`` needs."""
    follow_frames: Annotated[int, Field(ge=0, le=1000)] = 300
    """Frames are compared with the median of so many that were found in focus, but at least 0.8 of the
    baseline; 0 compares them with the baseline itself."""


class DriftSettings(Section):
    """When focus counts as lost."""

    metric: str = "band_ratio"
    """Metric that is compared with the baseline; see ``focusd score --list``."""
    detector: Literal["both", "ratio", "cusum", "ewma"] = "both"
    """``ratio``: enough frames below a share of the baseline, soonest at a marked loss; ``cusum`` (Page 1954)
    and ``ewma`` (Roberts 1959): control charts of the log score, which also notice small and slow losses;
    ``both``: ``ratio`` or ``cusum``, whichever speaks first."""
    threshold_ratio: Fraction = 0.72
    """``ratio``: a frame under this share of the baseline is below."""
    suspect_ratio: Fraction = 0.78
    """``ratio``: a frame under this share of the baseline is suspect, or under ``threshold_ratio`` if that is
    higher."""
    frames_below: Annotated[int, Field(ge=1, le=100)] = 3
    """``ratio``: so many frames below ..."""
    frames_window: Annotated[int, Field(ge=1, le=100)] = 4
    """... among this many judgeable frames mean that focus is lost."""
    cusum_reference: Annotated[float, Field(ge=0, le=10)] = 0.5
    """``cusum``: fall of a frame that is allowed, in units of the content's scatter."""
    cusum_limit: Annotated[float, Field(gt=0, le=1000)] = 40.0
    """``cusum``: sum of the falls beyond that which means that focus is lost, in the same units."""
    ewma_weight: Annotated[float, Field(gt=0, le=1)] = 0.2
    """``ewma``: weight of the newest frame."""
    ewma_limit: Annotated[float, Field(gt=0, le=100)] = 7.0
    """``ewma``: average that means that focus is lost, in its own standard deviations."""
    lost_signal_frames: Annotated[int, Field(ge=0, le=10_000)] = 5
    """So many frames in a row too faint to judge (empty ones not counted), where there used to be plenty of
    signal, mean that focus may be lost altogether; 0 never takes it so."""

    @model_validator(mode="after")
    def _window_holds_them(self) -> DriftSettings:
        if self.frames_below > self.frames_window:
            raise ValueError(
                f"frames_below must be at most frames_window = {self.frames_window}, got {self.frames_below}"
            )
        return self


class RefocusSettings(Section):
    """What is done when focus is lost."""

    mode: Literal["immediate", "checkpoint", "advise"] = "immediate"
    """``immediate``: refocus at once; ``checkpoint``: when the acquisition software says that it is between
    two tiles (``POST /v1/checkpoint``); ``advise``: never move, only report."""
    method: Literal["spectral", "brent", "brent-wide"] = "spectral"
    """``spectral``: focus from the relative blur of two scans, seen by a third, with the last step of Brent's
    method; ``brent``: a bracket around the current working distance, then Brent's method in it;
    ``brent-wide``: Brent's method over the whole of ``microscope.limits`` with 1/variance of the Laplacian,
    as published."""
    metric: str = "log_energy"
    """Metric that ``brent`` maximises."""
    depth_of_field_um: Annotated[float, Field(gt=0, le=20_000)] = 2.0
    """Defocus that adds one pixel of blur; sets the search's first step and its tolerance."""
    probe: bool = True
    """Whether an alarm is checked first: a scan beside the present working distance shows whether focus is
    the matter at all. A true alarm costs no scan more by this."""
    probe_suspicion: bool = True
    """Where acquisition waits for the verdict or comes to a checkpoint, whether the first suspect frame is
    probed already: a probe costs less than that tile and the next ones taken again."""
    place_cool_down_s: Annotated[float, Field(ge=0, le=604_800)] = 3600.0
    """How long a place where a probe found that focus is not the matter is left alone."""
    max_scans: Annotated[int, Field(ge=4, le=100)] = 14
    """Images a refocus may take, verification included."""
    wide_maxiter: Annotated[int, Field(ge=2, le=100)] = 5
    """``maxiter`` of ``brent-wide``."""
    max_change_um: Positive = 200.0
    """Farthest the search may go from where it started."""
    deadline_s: Positive = 300.0
    """Longest a refocus may take."""
    keep_spectra: bool = False
    """Whether the power spectrum of each scan is kept, about 2 KiB each, for the newest 500 refocuses."""
    use_reference: bool = True
    """Whether ``spectral`` takes its second scan as far away as the last picture in focus under the same
    condition says that focus is; after a probe there is no need."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Automatic tries in a row at one place, or three times as many at different ones, before focusd gives up
    and reports ``degraded``."""
    cool_down_s: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    """Pause in ``degraded`` before focusd tries again by itself."""


class SurfaceSettings(Section):
    """Focus over the stage, predicted for the next tile from where refocuses have found it."""

    move: bool = True
    """Whether the lens goes there at a checkpoint that tells where the next tile is (``POST /v1/checkpoint``
    with ``position``); never with ``refocus.mode = "advise"``."""
    max_sd_depths: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Only if the prediction's standard deviation is at most so many depths of field."""
    min_points: Annotated[int, Field(ge=1, le=500)] = 4
    """Only if it rests on at least so many points."""
    max_step_um: Positive = 20.0
    """Longest such move; what lies farther away is left to a refocus."""
