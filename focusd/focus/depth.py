"""The depth of field of an imaging condition, learnt from one refocus to the next.

The configured value is a guess, good within some 30 %. Every refocus with three scans or more measures it on
the way. What is learnt makes the next search jump more surely; it never leaves a factor of 2 around the
configured value, so that a run of bad luck cannot lead the search astray.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from focusd.focus.posterior import DEPTH_LOG_SD

BOUND_FACTOR = 2.0
RUN_LOG_SCATTER = 0.12
"""What one run's estimate is off by beyond what it knows of: the spot's shape, tilt, astigmatism."""
LEAST_LOG_SD = 0.08
"""Never believed better than this; the aperture or the current may change unnoticed."""
_FORGETTING = 0.03
"""Added, in quadrature, for each run: what is old counts less."""
_OUTLIER_SDS = 2.0
"""An estimate farther off than this is taken for less certain than it says."""


@dataclass(frozen=True, slots=True)
class LearnedDepth:
    """A log-normal belief about the depth of field; plain numbers, so it can be stored as JSON."""

    configured_um: float
    depth_of_field_um: float
    log_sd: float = DEPTH_LOG_SD
    runs: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense, wherever they were stored.

        Raises:
            ValueError: a depth or a standard deviation is not positive, or the belief is out of bounds.
        """
        if not (self.configured_um > 0.0 and self.depth_of_field_um > 0.0 and self.log_sd > 0.0):
            raise ValueError(f"depths and their standard deviation must be positive, got {self}")
        if abs(math.log(self.depth_of_field_um / self.configured_um)) > math.log(BOUND_FACTOR) + 1e-9:
            raise ValueError(f"a learnt depth must be within a factor of 2 of the configured one, got {self}")

    @classmethod
    def configured(cls, depth_of_field_um: float) -> LearnedDepth:
        """Begin with the configured value."""
        return cls(depth_of_field_um, depth_of_field_um)

    def after(self, estimate_um: float, sd_um: float) -> LearnedDepth:
        """Give what is believed after a run that began with this belief.

        The run's estimate holds this belief already, so it is taken out first: only what the run added in
        precision counts, and at most as much as ``RUN_LOG_SCATTER`` allows.

        Args:
            estimate_um: Depth of field as the run's posterior has it.
            sd_um: Its standard deviation.
        """
        if not (estimate_um > 0.0 and sd_um > 0.0 and math.isfinite(estimate_um) and math.isfinite(sd_um)):
            return self
        mean, known = math.log(self.depth_of_field_um), self.log_sd**-2
        told = (sd_um / estimate_um) ** -2
        gained = told - known
        if gained <= 0.0:
            return self
        seen = mean + (math.log(estimate_um) - mean) * told / gained
        variance = 1.0 / gained + RUN_LOG_SCATTER**2
        surprise = (seen - mean) ** 2 / _OUTLIER_SDS**2
        variance = max(variance, surprise - self.log_sd**2)
        prior_variance = self.log_sd**2 + _FORGETTING**2
        share = prior_variance / (prior_variance + variance)
        bound = math.log(BOUND_FACTOR)
        offset = mean + share * (seen - mean) - math.log(self.configured_um)
        return LearnedDepth(
            self.configured_um,
            self.configured_um * math.exp(min(max(offset, -bound), bound)),
            min(max(math.sqrt((1.0 - share) * prior_variance), LEAST_LOG_SD), DEPTH_LOG_SD),
            self.runs + 1,
        )
