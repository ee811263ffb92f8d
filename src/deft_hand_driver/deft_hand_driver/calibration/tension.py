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
from typing import Final

import numpy as np
from scipy.optimize import brute, minimize, nnls

from deft_core.errors import DeviceError
from deft_core.validation import FloatArray
from deft_hand_driver.description import MeasuredMotor, MotorDescription

_POINTS: Final = 160  # of the common grid of both ways
_PLACES: Final = 24  # of each bend, from the best of which the search goes on
_IMPOSSIBLE: Final = 1e6  # [A] more than any error
LIMIT_MARGIN: Final = 0.1  # [rad] beyond a stop, so that a finger can be pulled against it
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
"""Where it is taut, steepness of the flexures, both stops with what each adds to it."""


def _one_way(grid: FloatArray, pull: FloatArray) -> _Ends:
    """Level, then a rise from the first bend, then a steeper one from the stop."""
    taut, stop, (_, stiffness, steepness) = _search(
        grid, pull, lambda taut, stop: [_beyond(grid, taut), _beyond(grid, stop)]
    )
    return taut, stiffness, (float(grid[0]), 0.0), (stop, steepness)


def _both_ways(grid: FloatArray, pull: FloatArray) -> _Ends:
    """A line between two stops; the tendon pulls nowhere where it crosses zero."""
    low, high, (offset, stiffness, below, above) = _search(
        grid,
        pull,
        lambda low, high: [grid, -_beyond(-grid, -low), _beyond(grid, high)],
        _LEAST_TRAVEL,
    )
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


def _beyond(grid: FloatArray, bend: float) -> FloatArray:
    return np.asarray(np.maximum(0.0, grid - bend))


def _search(
    grid: FloatArray,
    pull: FloatArray,
    columns: Callable[[float, float], list[FloatArray]],
    least_gap: float = 0.0,
) -> tuple[float, float, list[float]]:
    """Places of two bends with the least error.

    Args:
        grid: Positions, rising. Shape (n,). [rad].
        pull: There. Shape (n,). [A].
        columns: Slope and what each bend adds, for two bends.
        least_gap: Between the bends, as a share of the grid.

    Returns:
        Both bends [rad], then the level and the factors of the columns; zeros where nothing fits.
    """
    low, high = float(grid[0]), float(grid[-1])

    def fit(bends: FloatArray) -> tuple[float, list[float]]:
        first, second = bends.tolist()
        if second - first > least_gap * (high - low):
            level = np.ones_like(grid)
            # The level may have either sign; nothing gets softer further on.
            found, error = nnls(np.column_stack([-level, level, *columns(first, second)]), pull)
            if found[2] * (second - first) >= _LEAST_ELASTIC:
                return float(error), [float(found[1] - found[0]), *found[2:].tolist()]
        return _IMPOSSIBLE, [0.0] * (1 + len(columns(low, high)))

    def error_of(bends: FloatArray) -> float:
        return fit(bends)[0]

    ends = ((low, high), (low, high))
    coarse = brute(error_of, ends, Ns=_PLACES, finish=None)
    bends = minimize(error_of, coarse, method='Nelder-Mead', bounds=ends).x
    first, second = bends.tolist()
    return first, second, fit(bends)[1]


def measured_motor(motor: MotorDescription, fit: TensionFit) -> MeasuredMotor:
    """What the description of the hand should say, rounded as it is written.

    Where a stop was met, the limit lies a margin beyond it; where the gentle current was too weak
    to meet it, the limit is where the motor came to.
    """
    upper = fit.highest if fit.upper_end is None else fit.upper_end + LIMIT_MARGIN
    if fit.lower_end is not None:
        lower = fit.lower_end - LIMIT_MARGIN
    elif fit.both_ways:
        lower = fit.lowest
    else:
        # A tendon that only pulls has no business far below where it is taut.
        lower = max(fit.lowest, fit.taut - LIMIT_MARGIN)
    return MeasuredMotor(
        id=motor.id,
        sign=motor.sign,
        gear=motor.gear,
        zero=round(motor.zero + motor.sign * motor.gear * fit.taut, 3),
        lower=round(lower - fit.taut, 3),
        upper=round(upper - fit.taut, 3),
    )
