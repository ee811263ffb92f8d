# SPDX-License-Identifier: Apache-2.0
"""Trajectories that the firmware draws from its goals (e-Manual, "What is the Profile")."""

from __future__ import annotations

import math

_STEP = 0x00
_RECTANGULAR = 0x10
_TRIANGULAR = 0x20
_TRAPEZOIDAL = 0x30


class PositionProfile:
    """Way to a goal position with a limited velocity and acceleration; velocity never jumps.

    Units are the caller's, the same for all.

    Attributes:
        position: Where the trajectory is.
        velocity: How fast it is.
        goal: Where it goes.
        kind: Bits of the field `moving_status` that name the type.
    """

    def __init__(self, position: float) -> None:
        """At rest."""
        self.position = position
        self.velocity = 0.0
        self.goal = position
        self.kind = _STEP
        self._top_speed = math.inf
        self._acceleration = math.inf

    @property
    def ongoing(self) -> bool:
        """Whether the goal is not reached yet."""
        return self.position != self.goal

    def rest(self, position: float) -> None:
        """Stop here at once.

        Args:
            position: Also the new goal.
        """
        self.position = self.goal = position
        self.velocity = 0.0
        self.kind = _STEP

    def go(self, goal: float, top_speed: float, acceleration: float) -> None:
        """Head for a goal from where the trajectory is.

        Args:
            goal: Target.
            top_speed: 0 for a step.
            acceleration: 0 to reach the top speed at once.
        """
        self.goal = goal
        self._top_speed = top_speed or math.inf
        self._acceleration = acceleration or math.inf
        distance = abs(goal - self.position)
        if top_speed == 0.0:
            self.kind = _STEP
            self._acceleration = math.inf
        elif acceleration == 0.0:
            self.kind = _RECTANGULAR
        elif distance * acceleration < top_speed * top_speed:
            self.kind = _TRIANGULAR
        else:
            self.kind = _TRAPEZOIDAL

    def go_in_time(self, goal: float, duration: float, ramp: float) -> None:
        """Reach a goal in a given time.

        Args:
            goal: Target.
            duration: Of the whole motion; 0 for a step. [s].
            ramp: Of speeding up, at most half of it. [s].
        """
        ramp = min(ramp, duration / 2.0)
        top_speed = abs(goal - self.position) / (duration - ramp) if duration > 0.0 else 0.0
        self.go(goal, top_speed, top_speed / ramp if ramp > 0.0 else 0.0)

    def step(self, duration: float) -> None:
        """Go on.

        Args:
            duration: [s].
        """
        rest = self.goal - self.position
        if rest == 0.0 and self.velocity == 0.0:
            return
        speed, change = self._top_speed, self._acceleration * duration
        if change != math.inf:
            # Fast enough to still stop at the goal, by steps of this length.
            half = change / 2.0
            reach = 2.0 * self._acceleration * abs(rest)
            speed = min(speed, reach / (math.sqrt(half * half + reach) + half))
        wanted = math.copysign(speed, rest) if rest else 0.0
        velocity = min(max(wanted, self.velocity - change), self.velocity + change)
        arrives = velocity * rest > 0.0 and abs(velocity) * duration >= abs(rest)
        if arrives and abs(velocity) <= 2.0 * change:  # else it shoots past and comes back
            self.position, self.velocity = self.goal, 0.0
            return
        self.velocity = velocity
        self.position += velocity * duration


class VelocityProfile:
    """Way to a goal velocity with a limited acceleration.

    Attributes:
        velocity: Where the trajectory is.
        goal: Where it goes.
    """

    def __init__(self) -> None:
        """At rest."""
        self.velocity = 0.0
        self.goal = 0.0
        self._acceleration = math.inf

    def rest(self) -> None:
        """Stop at once."""
        self.velocity = self.goal = 0.0

    def go(self, goal: float, acceleration: float) -> None:
        """Head for a velocity.

        Args:
            goal: Target.
            acceleration: 0 to be there at once.
        """
        self.goal = goal
        self._acceleration = acceleration or math.inf

    def step(self, duration: float) -> None:
        """Go on.

        Args:
            duration: [s].
        """
        change = self._acceleration * duration
        self.velocity = min(max(self.goal, self.velocity - change), self.velocity + change)
