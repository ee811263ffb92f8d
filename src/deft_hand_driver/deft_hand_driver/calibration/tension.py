# SPDX-License-Identifier: Apache-2.0
"""Where a tendon is taut and where its joint ends, from the current of a slowly turning motor.

A motor turns slowly one way and back. Half the sum of both currents is the pull of the tendon,
half their difference is friction. The pull is nothing while the tendon is slack, rises with the
flexures, and rises much faster at the stop of the joint. A tendon that runs both ways pulls the
other way below its zero, down to the lower stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from scipy.optimize import nnls

from deft_core.errors import DeviceError
from deft_core.validation import FloatArray

_POINTS: Final = 160  # of the common grid of both ways
_PLACES: Final = 16  # of a bend, in one round of the search
_ROUNDS: Final = 4
_LEAST_OVERLAP: Final = 0.1  # [rad]
_STOP_STEEPNESS: Final = 3.0  # times the flexures
_STOP_RISE: Final = 0.02  # [A] beyond the flexures, or the stop was not met
_LEAST_SLACK: Final = 0.1  # [rad] that must be seen before the tendon is taut
_LEVEL: Final = 0.006  # [A]
_LEAST_LEVEL: Final = 0.3  # [rad] in which a level must not change by more than twice that
_NEARBY: Final = 0.12  # [rad] from where the pull changes its direction
_LEAST_TRAVEL: Final = 0.4  # of the way of the motor, between two stops
_LEAST_ELASTIC: Final = 0.006  # [A] that the flexures take between the two bends
_LEAST_RISE: Final = 0.008  # [A] from slack to the end, or there is no tendon


@dataclass(frozen=True, eq=False)
class Track:
    """What was measured while a motor turned one way.

    Attributes:
        positions: Shape (n,). [rad].
        currents: Positive pulls. Shape (n,). [A].
        strained: Whether it ended because the current was spent, not at its goal.
    """

    positions: FloatArray
    currents: FloatArray
    strained: bool = False


@dataclass(frozen=True)
class TensionFit:
    """Of one motor, in the motor positions that the file of the hand counts now.

    Attributes:
        taut: Where the tendon is just taut, or a tendon that runs both ways pulls nowhere. [rad].
        lower_end: Where the lower stop is met; None where there is none or it was not met. [rad].
        upper_end: Likewise above. [rad].
        lowest: Lowest position that was reached, or below which a pull both ways stays. [rad].
        highest: Highest position that was reached. [rad].
        friction: Current that friction took. [A].
        stiffness: Current per motor angle that the flexures took. [A/rad].
        both_ways: Whether it was seen to pull below its zero.
    """

    taut: float
    lower_end: float | None
    upper_end: float | None
    lowest: float
    highest: float
    friction: float
    stiffness: float
    both_ways: bool


def fit_tension(name: str, up: Track, down: Track, *, both_ways: bool) -> TensionFit:
    """Find the bends in the pull of a tendon.

    Args:
        name: Of the motor, for messages.
        up: While it wound up.
        down: While it unwound.
        both_ways: Whether the tendon may also pull below its zero.

    Raises:
        DeviceError: The tracks show no tendon, or it was never slack.
    """
    lowest = max(float(up.positions.min()), float(down.positions.min()))
    highest = min(float(up.positions.max()), float(down.positions.max()))
    if highest - lowest < _LEAST_OVERLAP:
        raise DeviceError(
            f'{name} turned only {max(0.0, highest - lowest):.2f} rad under the gentle current; '
            'look for something that blocks it, or allow more with --current.'
        )
    grid = np.linspace(lowest, highest, _POINTS)
    wound, unwound = _on_grid(up, grid), _on_grid(down, grid)
    pull, friction = 0.5 * (wound + unwound), float(np.median(0.5 * (wound - unwound)))
    rise = float(pull[-1] - pull[0])
    if both_ways:
        begin = _end_of_level(grid, pull)
        # What does not change below there is slack, or a push that has come to its end.
        both_ways = begin == 0 or abs(float(pull[0])) > _LEVEL
        if both_ways:
            grid, pull = grid[begin:], pull[begin:]
            lowest = float(grid[0])
    numbers = _both_ways(grid, pull) if both_ways else _one_way(grid, pull)
    taut, stiffness, (lower_end, lower_steepness), (upper_end, upper_steepness) = numbers
    if stiffness <= 0.0 or rise < _LEAST_RISE:
        raise DeviceError(
            f'{name}: the current does not rise while the tendon is wound up. Is the tendon '
            'fastened, and the sign of the motor right?'
        )
    if not both_ways and taut - lowest < _LEAST_SLACK:
        raise DeviceError(
            f'{name}: the tendon was not slack at {lowest:.2f} rad, where the search began; '
            'unwind more with --loosen.'
        )
    if both_ways and not lowest < taut < highest:
        raise DeviceError(
            f'{name}: the pull does not change its direction between {lowest:.2f} and '
            f'{highest:.2f} rad; is the finger free?'
        )
    return TensionFit(
        taut=taut,
        lower_end=_met(lower_end, lower_steepness, lower_end - lowest, stiffness),
        upper_end=_met(upper_end, upper_steepness, highest - upper_end, stiffness),
        lowest=lowest if both_ways else float(up.positions.min()),
        highest=float(up.positions.max()),
        friction=friction,
        stiffness=stiffness,
        both_ways=both_ways,
    )


def _end_of_level(grid: FloatArray, pull: FloatArray) -> int:
    """Where the pull begins to rise; 0 where it does so from the start."""
    first = pull[grid <= grid[0] + _LEAST_LEVEL]
    low, level, high = np.quantile(first, (0.1, 0.5, 0.9))
    if high - low > 2.0 * _LEVEL:
        return 0
    return int(np.flatnonzero(pull <= level + _LEVEL)[-1])


def _on_grid(track: Track, grid: FloatArray) -> FloatArray:
    order = np.argsort(track.positions, kind='stable')
    return np.asarray(np.interp(grid, track.positions[order], track.currents[order]))


def _met(end: float, steepness: float, beyond: float, stiffness: float) -> float | None:
    """The place of a stop, where the pull rose beyond it as only a stop can make it."""
    stop = steepness > _STOP_STEEPNESS * stiffness and steepness * beyond > _STOP_RISE
    return end if stop else None


_Ends = tuple[float, float, tuple[float, float], tuple[float, float]]


def _one_way(grid: FloatArray, pull: FloatArray) -> _Ends:
    """Level, then a rise from the first bend, then a steeper one from the stop."""

    def columns(bends: tuple[float, float]) -> list[FloatArray]:
        taut, stop = bends
        return [np.ones_like(grid), np.maximum(0.0, grid - taut), np.maximum(0.0, grid - stop)]

    (taut, stop), (_, stiffness, steepness) = _search(grid, pull, columns)
    return taut, stiffness, (float(grid[0]), 0.0), (stop, steepness)


def _both_ways(grid: FloatArray, pull: FloatArray) -> _Ends:
    """A line between two stops; the tendon pulls nowhere where it crosses zero."""

    def columns(bends: tuple[float, float]) -> list[FloatArray]:
        low, high = bends
        return [
            np.ones_like(grid),
            grid,
            -np.maximum(0.0, low - grid),
            np.maximum(0.0, grid - high),
        ]

    (low, high), numbers = _search(grid, pull, columns, _LEAST_TRAVEL)
    offset, stiffness, below, above = numbers
    taut = -offset / stiffness if stiffness > 0.0 else float('nan')
    changes = np.flatnonzero((pull[:-1] <= 0.0) & (pull[1:] > 0.0))
    if len(changes) > 0:
        # Nearby alone: further on a finger may push its neighbour.
        taut = float(np.median(grid[changes]))
        near = np.abs(grid - taut) < _NEARBY
        slope, level = np.polyfit(grid[near], pull[near], 1)
        if slope > 0.0:
            taut += float(np.clip(-level / slope - taut, -_NEARBY, _NEARBY))
    return taut, stiffness, (low, below), (high, above)


def _search(
    grid: FloatArray,
    pull: FloatArray,
    columns: Callable[[tuple[float, float]], list[FloatArray]],
    least_gap: float = 0.0,
) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Places of two bends with the least error, on grids that become finer.

    Args:
        grid: Positions, rising. Shape (n,). [rad].
        pull: There. Shape (n,). [A].
        columns: Level, slope and what each bend adds, for two bends.
        least_gap: Between the bends, as a share of the grid.
    """
    low, high = float(grid[0]), float(grid[-1])
    ranges = [(low, high), (low, high)]
    best: tuple[float, tuple[float, float], FloatArray] | None = None
    for _ in range(_ROUNDS):
        firsts, seconds = (np.linspace(*ends, _PLACES).tolist() for ends in ranges)
        for first, second in product(firsts, seconds):
            if second - first <= least_gap * (high - low):
                continue
            bends = columns((first, second))
            # The level may have either sign; nothing gets softer further on.
            design = np.column_stack([-bends[0], *bends])
            found, error = nnls(design, pull)
            if best is not None and error >= best[0]:
                continue
            numbers = np.concatenate([[found[1] - found[0]], found[2:]])
            if numbers[1] * (second - first) >= _LEAST_ELASTIC:
                best = (float(error), (float(first), float(second)), numbers)
        if best is None:
            return (low, high), (0.0,) * len(columns((low, high)))
        cells = [(ends[1] - ends[0]) / (_PLACES - 1) for ends in ranges]
        ranges = [
            (max(low, bend - 2.0 * cell), min(high, bend + 2.0 * cell))
            for bend, cell in zip(best[1], cells, strict=True)
        ]
    assert best is not None
    return best[1], tuple(best[2].tolist())
