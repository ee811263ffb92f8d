# SPDX-License-Identifier: Apache-2.0
"""Joints to motors and back as fitted to one hand (paper, appendix B); a `JointMap`.

Forward, a fitted function gives the joints of each finger from its motors. Backward, the motor
positions are found at which that function gives what the motors can choose of the wanted joints
(`FingerLayout.chosen`). Both ways are single-valued and continuous, because maps are refused whose
chosen values do not rise clearly with their own motor and more than with all others together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import ConfigurationError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.calibration.families import FingerModel
from deft_hand_driver.calibration.finger_layout import FingerLayout, finger_layouts
from deft_hand_driver.description import HandDescription

_SMALLEST_SLOPE: Final = 0.02  # of a chosen value per motor angle
_CHECK_POINTS: Final = 7  # along each motor of a finger, where slopes are checked
_GRID: Final = 33  # points of one refinement of the way back
_REFINEMENTS: Final = 3
_LONGEST_SOLUTION: Final = 30  # sweeps over the motors of a finger
_SOLVED: Final = 1e-7  # [rad] change of the motors in the last sweep


@dataclass(frozen=True, eq=False)
class ForwardModel:
    """Joints of all fingers from m motor positions.

    Attributes:
        lower: Below it tendons are slack or joints at their stop. Shape (m,). [rad].
        upper: Likewise above it. Shape (m,). [rad].
        fingers: One model per finger, all of one family.
    """

    lower: FloatArray
    upper: FloatArray
    fingers: tuple[FingerModel, ...]

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.fingers[0].family

    def joints(self, layouts: Sequence[FingerLayout], motors: FloatArray) -> FloatArray:
        """Joint positions, not cut to the travel, of motor positions (n, m). Shape (n, 16)."""
        inside = np.clip(motors, self.lower, self.upper)
        return np.concatenate(
            [
                model.joints(inside[:, layout.motors])
                for layout, model in zip(layouts, self.fingers, strict=True)
            ],
            axis=1,
        )


class LearnedMap:
    """Joints to motor commands and back for one hand, as it was observed.

    Attributes:
        description: The hand.
        lower: Motor commands at the lowest joint positions. Shape (m,). [rad].
        upper: Motor commands at the highest joint positions. Shape (m,). [rad].
        from_commands: Where the hand settles under commands.
        from_motors: Where it is at measured motor positions.
    """

    def __init__(
        self, description: HandDescription, from_commands: ForwardModel, from_motors: ForwardModel
    ) -> None:
        """Take fitted functions.

        Args:
            description: The hand.
            from_commands: Fitted to what was sent.
            from_motors: Fitted to what was measured.

        Raises:
            ConfigurationError: The ranges are empty or leave the limits of the motors, or the way
                back would be ambiguous.
        """
        self.description = description
        self.from_commands = from_commands
        self.from_motors = from_motors
        self._layouts = finger_layouts(description)
        self._joint_lower, self._joint_upper = description.joint_limits()
        self._motor_lower, self._motor_upper = description.motor_limits()
        self.lower = np.clip(from_commands.lower, self._motor_lower, self._motor_upper)
        self.upper = np.clip(from_commands.upper, self._motor_lower, self._motor_upper)
        for array in (self.lower, self.upper):
            array.setflags(write=False)
        for range_lower, range_upper in (
            (self.lower, self.upper),
            (from_motors.lower, from_motors.upper),
        ):
            if not np.all(range_lower < range_upper):
                place = int(np.argmin(range_upper - range_lower))
                raise ConfigurationError(
                    f'The learned map leaves motor {description.motor_names[place]} no range: '
                    f'{range_lower[place]:.3f} to {range_upper[place]:.3f} rad.'
                )
        self._require_one_way_back()

    def motors_from_joints(self, joint_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`; commands outside of the range end at it. Shape (m,). [rad]."""
        joints = finite_array('hand joint positions', joint_positions, (len(HAND_JOINT_NAMES),))
        found = np.empty(len(self.lower))
        for layout, model in zip(self._layouts, self.from_commands.fingers, strict=True):
            wanted = layout.chosen(joints[layout.joints])
            found[layout.motors] = self._solve(layout, model, wanted)
        return found

    def joints_from_commands(self, commands: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        return self._joints('motor commands', commands, self.from_commands)

    def joints_from_motors(self, motor_positions: npt.ArrayLike) -> FloatArray:
        """See `JointMap`. Shape (16,). [rad]."""
        return self._joints('motor positions', motor_positions, self.from_motors)

    def _joints(self, name: str, values: npt.ArrayLike, model: ForwardModel) -> FloatArray:
        checked = finite_array(name, values, (len(self.lower),))
        joints = model.joints(self._layouts, checked[np.newaxis])[0]
        return np.asarray(np.clip(joints, self._joint_lower, self._joint_upper), dtype=np.float64)

    def _solve(self, layout: FingerLayout, model: FingerModel, wanted: FloatArray) -> FloatArray:
        """Motors of a finger at which it gives the wanted values, or the nearest end of range.

        One motor after the other, until nothing changes: converges where every value depends most
        on its own motor (Gauss-Seidel).
        """
        lower, upper = self.lower[layout.motors], self.upper[layout.motors]
        motors = 0.5 * (lower + upper)
        if model.separable:
            return _refined(layout, model, wanted, motors, lower, upper, slice(None))
        for _ in range(_LONGEST_SOLUTION):
            before = motors
            for place in range(len(motors)):
                one = slice(place, place + 1)
                motors = _refined(layout, model, wanted, motors, lower, upper, one)
            if np.abs(motors - before).max() < _SOLVED:
                break
        return motors

    def _require_one_way_back(self) -> None:
        for layout, model in zip(self._layouts, self.from_commands.fingers, strict=True):
            slopes = _slopes(layout, model, self.lower[layout.motors], self.upper[layout.motors])
            own = np.diagonal(slopes, axis1=1, axis2=2)
            others = np.abs(slopes).sum(axis=2) - np.abs(own)
            if np.any(own < _SMALLEST_SLOPE) or np.any(own <= others):
                raise ConfigurationError(
                    f'The learned map is not monotone at the {layout.name} finger: wanted joints '
                    'would not belong to one command. Record more pairs, or fit another family.'
                )


def _refined(
    layout: FingerLayout,
    model: FingerModel,
    wanted: FloatArray,
    motors: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    places: slice,
) -> FloatArray:
    """Motors of which some are moved to where their chosen values are the wanted ones.

    Each of them is looked for on a grid of its own that becomes finer; several at a time only
    where their values do not depend on each other.
    """
    found = motors.copy()
    low, high = lower[places].copy(), upper[places].copy()
    for _ in range(_REFINEMENTS):
        grids = np.linspace(low, high, _GRID)
        rows = np.repeat(found[np.newaxis], _GRID, axis=0)
        rows[:, places] = grids
        values = layout.chosen(model.joints(rows))[:, places]
        for column, target in enumerate(wanted[places]):
            cell = int(np.clip(np.searchsorted(values[:, column], target), 1, _GRID - 1))
            low[column], high[column] = grids[cell - 1, column], grids[cell, column]
            ends = values[cell - 1 : cell + 1, column]
            # Beyond the ends of the range the nearest end is the answer.
            grids[0, column] = np.interp(target, ends, (low[column], high[column]))
    found[places] = grids[0]
    return found


def _slopes(
    layout: FingerLayout, model: FingerModel, lower: FloatArray, upper: FloatArray
) -> FloatArray:
    """Chosen values per motor angle on a grid over the range. Shape (n, k, k)."""
    count = len(lower)
    shares = (np.arange(_CHECK_POINTS) + 0.5) / _CHECK_POINTS
    grid = np.stack(np.meshgrid(*([shares] * count), indexing='ij'), axis=-1).reshape(-1, count)
    half = 0.5 * (upper - lower) / _CHECK_POINTS
    motors = lower + grid * (upper - lower)
    slopes = np.empty((len(motors), count, count))
    for place in range(count):
        step = np.zeros(count)
        step[place] = half[place]
        above, below = model.joints(motors + step), model.joints(motors - step)
        slopes[:, :, place] = (layout.chosen(above) - layout.chosen(below)) / (2.0 * half[place])
    return slopes
