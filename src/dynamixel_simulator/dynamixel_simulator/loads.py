# SPDX-License-Identifier: Apache-2.0
"""Loads for the horn of a simulated servo, where no simulated world pulls at it."""

from __future__ import annotations

from dataclasses import dataclass

from deft_core.errors import InvalidInputError


@dataclass(frozen=True)
class ElasticTendon:
    """A tendon that is slack at first, then bends a flexure, then meets a stop.

    Attributes:
        taut_at: Position of the horn where the tendon is just taut. [rad].
        stiffness: Torque per angle of the taut tendon. [N m/rad].
        stop_at: Where the finger meets its stop, beyond `taut_at` in winding direction. [rad].
        stop_stiffness: Torque per angle against the stop, in addition. [N m/rad].
        winds: 1 when larger positions wind the tendon up, -1 when smaller ones do.
    """

    taut_at: float
    stiffness: float
    stop_at: float
    stop_stiffness: float
    winds: int = 1

    def __post_init__(self) -> None:
        """Refuse tendons that push or stops that the tendon is past from the start."""
        if self.winds not in (-1, 1):
            raise InvalidInputError(f'A tendon winds with 1 or -1, got {self.winds}.')
        if min(self.stiffness, self.stop_stiffness) < 0.0:
            raise InvalidInputError('The stiffness of a tendon must not be negative.')
        if self.winds * (self.stop_at - self.taut_at) < 0.0:
            raise InvalidInputError(
                f'The stop of a tendon must lie in winding direction of where it is taut, got '
                f'{self.stop_at} and {self.taut_at} rad.'
            )

    def __call__(self, position: float, velocity: float) -> float:
        """Torque on the horn.

        Args:
            position: [rad].
            velocity: Not used. [rad/s].

        Returns:
            Against the winding direction, or 0 where it is slack. [N m].
        """
        del velocity
        stretch = self.winds * (position - self.taut_at)
        beyond = self.winds * (position - self.stop_at)
        torque = self.stiffness * max(0.0, stretch) + self.stop_stiffness * max(0.0, beyond)
        return -self.winds * torque


@dataclass(frozen=True)
class TwoWayTendon:
    """A tendon that runs around its spool and pulls both ways, between two stops.

    Attributes:
        zero: Position of the horn where it pulls nowhere. [rad].
        stiffness: Torque per angle of the flexures. [N m/rad].
        lower_stop: Lowest position of the horn before the lower stop. [rad].
        upper_stop: Highest position of the horn before the upper stop. [rad].
        stop_stiffness: Torque per angle against a stop, in addition. [N m/rad].
    """

    zero: float
    stiffness: float
    lower_stop: float
    upper_stop: float
    stop_stiffness: float

    def __post_init__(self) -> None:
        """Refuse stops on one side and negative stiffness."""
        if not self.lower_stop < self.zero < self.upper_stop:
            raise InvalidInputError(
                f'The zero of a tendon must lie between its stops, got {self.zero} and '
                f'{self.lower_stop} to {self.upper_stop} rad.'
            )
        if min(self.stiffness, self.stop_stiffness) < 0.0:
            raise InvalidInputError('The stiffness of a tendon must not be negative.')

    def __call__(self, position: float, velocity: float) -> float:
        """Torque on the horn, towards its zero. [N m]."""
        del velocity
        beyond = max(0.0, position - self.upper_stop) - max(0.0, self.lower_stop - position)
        return -self.stiffness * (position - self.zero) - self.stop_stiffness * beyond
