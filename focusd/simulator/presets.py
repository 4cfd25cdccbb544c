"""Microscopes and specimens ready made: the published model, a worn instrument, a scan that loses focus."""

from __future__ import annotations

from dataclasses import dataclass

from focusd.simulator.options import ColumnOptions, Plateau, SpecimenOptions

# Of the demonstration's specimen, all heights in depths of field. A neighbouring tile is mostly less than
# one away; three times on the way the surface steps up, by more than any search's first guess.
_RISE_PER_COLUMN = 0.45
_RISE_PER_ROW = 0.6
_BUMPS = 0.8
_STEPS = ((0.2, 6.0), (0.5, 7.0), (0.8, 5.0))


def seed_column(seed: int = 1) -> ColumnOptions:
    """The published reference model: best focus at 50 mm, one pixel of blur each 10 mm, no noise."""
    return ColumnOptions(
        optics="seed", best_focus_mm=50.0, working_distance_mm=10.0, limits_mm=(1.0, 110.0), seed=seed
    )


def worn_column(seed: int = 1) -> ColumnOptions:
    """An instrument with faults, in depths of field of 10 nm pixels (2 um).

    Line foci 2 apart, half of one of lens hysteresis, settings that repeat to a tenth; scans that shift by
    two pixels and vary by 2 % in brightness.
    """
    return ColumnOptions(
        astigmatism_um=4.0,
        astigmatism_angle_deg=30.0,
        backlash_um=1.0,
        setting_jitter_um=0.2,
        gain_jitter_percent=2.0,
        position_jitter_nm=20.0,
        field_change_percent_per_mm=0.1,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class TileScan:
    """A block of neighbouring fields, visited row by row, to and fro."""

    columns: int = 8
    rows: int = 8
    pitch_mm: float = 0.0104
    """From one tile to the next; with more than the field of view no tile sees both sides of a step."""

    def positions_mm(self) -> list[tuple[float, float]]:
        """Stage positions (x, y) in order of visit; the block's middle lies at (0, 0)."""
        return [
            (self._x_mm(column), self._y_mm(row))
            for row in range(self.rows)
            for column in (range(self.columns) if row % 2 == 0 else reversed(range(self.columns)))
        ]

    def after(self, tile: int, height_um: float) -> tuple[Plateau, Plateau]:
        """The ground that is visited from this tile on (counted from 0), raised by so much."""
        row, along = divmod(tile, self.columns)
        top, bottom = self._y_mm(row - 0.5), self._y_mm(row + 0.5)
        if row % 2 == 0:
            rest = Plateau(height_um, left_mm=self._x_mm(along - 0.5), top_mm=top, bottom_mm=bottom)
        else:
            right = self._x_mm(self.columns - 0.5 - along)
            rest = Plateau(height_um, right_mm=right, top_mm=top, bottom_mm=bottom)
        return rest, Plateau(height_um, top_mm=bottom)

    def _x_mm(self, column: float) -> float:
        return (column - (self.columns - 1) / 2) * self.pitch_mm

    def _y_mm(self, row: float) -> float:
        return (row - (self.rows - 1) / 2) * self.pitch_mm


def demo_specimen(
    scan: TileScan, *, depth_of_field_um: float = 2.0, texture: str = "neuropil", seed: int = 1
) -> SpecimenOptions:
    """A specimen on which a tile scan loses focus little by little, and three times at once.

    Args:
        scan: The tiles that will be visited.
        depth_of_field_um: Of the scan; the relief is measured in it.
        texture: One of ``focusd.simulator.textures.NAMES``.
        seed: Decides texture and bumps.

    Returns:
        The specimen. From tile to tile the height changes by well under one depth of field, except for a
        step of 5 to 7 before the tiles at a fifth, a half and four fifths of the way.
    """
    tiles = scan.columns * scan.rows
    per_pitch = depth_of_field_um / scan.pitch_mm
    steps = [scan.after(round(share * tiles), size * depth_of_field_um) for share, size in _STEPS]
    return SpecimenOptions(
        texture=texture,
        tilt_um_per_mm=(_RISE_PER_COLUMN * per_pitch, _RISE_PER_ROW * per_pitch),
        bumps_um=_BUMPS * depth_of_field_um,
        bump_size_mm=5 * scan.pitch_mm,
        plateaus=tuple(plateau for step in steps for plateau in step),
        contrast_variation_percent=15.0,
        patch_size_mm=3 * scan.pitch_mm,
        seed=seed,
    )
