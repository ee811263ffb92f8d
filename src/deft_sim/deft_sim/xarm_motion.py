# SPDX-License-Identifier: Apache-2.0
"""How a simulated xArm controller moves its setpoint along the commands of its queue."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.validation import FloatArray

_STOP_ACCELERATION: Final = 20.0  # [rad/s^2] vendor limit of a joint
_AT_TARGET: Final = 1e-9  # [rad]


@dataclass(frozen=True, eq=False)
class QueuedMove:
    """One command that waits in the controller."""

    target: FloatArray  # (6,) [rad]
    speed: float  # [rad/s] of the joint with the longest way
    acceleration: float  # [rad/s^2] of that joint
    blends: bool  # whether the arm goes on to the next command without stopping


class SetpointMotion:
    """The setpoint of the six joints and the queue that moves it."""

    def __init__(self, setpoint: FloatArray) -> None:
        """Stand at a setpoint. Shape (6,). [rad]."""
        self.setpoint: FloatArray = np.array(setpoint, dtype=np.float64)
        self.queue: deque[QueuedMove] = deque()  # the running command first
        self._pace = 0.0  # [rad/s] of the fastest joint along the queue
        self._velocity: FloatArray = np.zeros_like(self.setpoint)

    @property
    def moving(self) -> bool:
        """Whether the setpoint will still change."""
        return bool(self.queue or np.any(self._velocity))

    def hold(self, setpoint: FloatArray) -> None:
        """Forget everything and stand at a setpoint at once. Shape (6,). [rad]."""
        self.stop()
        self.setpoint = np.array(setpoint, dtype=np.float64)
        self._velocity = np.zeros_like(self.setpoint)

    def stop(self) -> None:
        """Forget everything and come to rest as fast as the joints can."""
        self.queue.clear()
        self._pace = 0.0

    def step(self, period: float, *, paused: bool = False) -> FloatArray:
        """Move the setpoint on for a period [s]; where it is then. Shape (6,). [rad]."""
        if self.queue and not paused:
            before = self.setpoint
            self._step_queue(period)
            self._velocity = (self.setpoint - before) / period
        else:
            self._step_down(period)
        return self.setpoint

    def _step_down(self, period: float) -> None:
        """Brake in the direction of the motion."""
        self._pace = 0.0
        fastest = float(np.abs(self._velocity).max())
        if fastest <= _STOP_ACCELERATION * period:
            self._velocity = np.zeros_like(self.setpoint)
            return
        self._velocity = self._velocity * (1.0 - _STOP_ACCELERATION * period / fastest)
        self.setpoint = self.setpoint + self._velocity * period

    def _step_queue(self, period: float) -> None:
        """Go on along the polyline of the queue, no faster than each of its parts allows."""
        first = self.queue[0]
        change = first.acceleration * period
        allowed = self._allowed_pace(first, change)
        self._pace = float(np.clip(allowed, self._pace - change, self._pace + change))
        left = max(self._pace, change) * period
        while self.queue and left > 0.0:
            way = self.queue[0].target - self.setpoint
            length = float(np.abs(way).max())
            if length <= max(left, _AT_TARGET):
                self.setpoint = self.queue[0].target.copy()
                left -= length
                if not self.queue.popleft().blends:
                    self._pace = 0.0
                    return
            else:
                self.setpoint = self.setpoint + way * (left / length)
                return
        self._pace = 0.0

    def _allowed_pace(self, first: QueuedMove, change: float) -> float:
        """Fastest pace from which every later part and the next stop can be met. [rad/s].

        It changes by at most `change` [rad/s] in one period.
        """
        rate = 2.0 * first.acceleration

        def pace_to(end: float, distance: float) -> float:
            """Pace now that can come down to `end` within a distance, in whole periods."""
            return float(np.sqrt(change**2 + end**2 + rate * distance)) - change

        distance = float(np.abs(first.target - self.setpoint).max())
        allowed = first.speed
        blends, position = first.blends, first.target
        for move in list(self.queue)[1:]:
            if not blends:
                break
            allowed = min(allowed, max(move.speed, pace_to(move.speed, distance)))
            distance += float(np.abs(move.target - position).max())
            blends, position = move.blends, move.target
        return min(allowed, pace_to(0.0, distance))
