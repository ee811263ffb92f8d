# SPDX-License-Identifier: Apache-2.0
"""Visits postures one after the other and takes a pair in each, once the hand is at rest there.

Free of ROS: somebody hands in what the driver and the observer say, and sends what is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.errors import DeviceError, SafetyError, StaleDataError
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.pairs import PairsFile
from deft_hand_driver.calibration.poses import CalibrationPose
from deft_hand_driver.description import HandDescription
from deft_hand_driver.joint_map import closed_form_map

QUIET_TIME: Final = 0.5  # [s] of the hand's clock without motion, before anybody looks
_QUIET: Final = 0.01  # [rad] that motors may move in that time
_OBSERVATIONS: Final = 5  # that are averaged; the noise of a tracker is not worth one posture
_SPEED: Final = 1.5  # [rad/s] of the fastest joint between two postures
_SHORTEST: Final = 0.3  # [s]
_PATIENCE: Final = 20.0  # [s] of real time for one posture
_SILENCE: Final = 5.0  # [s] of real time without a word from the driver or the observer
_SKIPS_IN_A_ROW: Final = 5


@dataclass(frozen=True, eq=False)
class HandSnapshot:
    """What the driver says of the hand.

    Attributes:
        stamp: Of the measurement, on the clock of the hand. [s].
        sequence: Of the command that it carries out.
        joint_targets: What was really sent, as joints; None where nothing is sent.
            Shape (16,). [rad].
        motors: Measured motor positions. Shape (m,). [rad].
    """

    stamp: float
    enabled: bool
    fault: str
    sequence: int
    settled: bool
    joint_targets: FloatArray | None
    motors: FloatArray


@dataclass(frozen=True, eq=False)
class PostureCommand:
    """A command to the driver: its number, joints of shape (16,) [rad], and duration [s]."""

    sequence: int
    joints: FloatArray
    duration: float


class PairsRecording:
    """The state of one recording; call `step` often.

    Attributes:
        place: Number of the posture that is visited now, from 0.
        skipped: Postures in which the hand did not come to rest.
    """

    def __init__(
        self,
        description: HandDescription,
        poses: Sequence[CalibrationPose],
        file: PairsFile,
        first_sequence: int,
        now: float,
    ) -> None:
        """Begin with the first posture.

        Args:
            description: The hand, which the driver moves by its closed form.
            poses: To visit.
            file: Takes the pairs.
            first_sequence: Number of the first command.
            now: Real time, monotonic. [s].
        """
        self._poses = poses
        self._file = file
        self._closed = closed_form_map(description)
        self._motor_limits = description.motor_limits()
        self._first_sequence = first_sequence
        self._heard = self._observed = now
        self._skips_in_a_row = 0
        self._snapshot: HandSnapshot | None = None
        self.place = self.recorded = self.skipped = 0
        self._begin_posture()

    def _begin_posture(self) -> None:
        self._sent_at: float | None = None
        self._at_rest: HandSnapshot | None = None  # the first one since the motors moved
        self._seen: list[tuple[FloatArray, FloatArray]] = []  # motors and joints at rest

    @property
    def done(self) -> bool:
        """Whether every posture was visited."""
        return self.place >= len(self._poses)

    def on_state(self, snapshot: HandSnapshot, now: float) -> None:
        """Take what the driver says; `now` is real time [s]."""
        self._heard = now
        self._snapshot = snapshot
        if snapshot.fault:
            raise SafetyError(f'The hand stopped: {snapshot.fault}')
        if not snapshot.enabled:
            raise SafetyError('The hand is disabled; call /hand/enable, then start again.')
        there = (
            self._sent_at is not None
            and snapshot.settled
            and snapshot.sequence == self._first_sequence + self.place
        )
        if not there:
            self._at_rest = None
        elif (
            self._at_rest is None
            or np.abs(snapshot.motors - self._at_rest.motors).max() > _QUIET
        ):  # fmt: skip
            self._at_rest = snapshot
            self._seen = []

    def on_observed(self, joints: FloatArray, now: float) -> None:
        """Take observed joints, shape (16,) [rad]; they count only while the hand is at rest."""
        self._observed = now
        snapshot, first = self._snapshot, self._at_rest
        if snapshot and first and snapshot.stamp - first.stamp >= QUIET_TIME:
            self._seen.append((snapshot.motors, joints))

    def step(self, now: float) -> PostureCommand | None:
        """What to send now, if anything; `now` is real time [s].

        Raises:
            StaleDataError: The driver or the observer is silent.
            DeviceError: The hand comes to rest nowhere.
            RecordingError: The pairs cannot be written.
        """
        if now - self._heard > _SILENCE:
            raise StaleDataError(
                f'No /hand/state for {_SILENCE:g} s; is the hand driver running in this ROS '
                'domain?'
            )
        if now - self._observed > _SILENCE:
            raise StaleDataError(
                f'No observed joints for {_SILENCE:g} s; is the tracker running, and does '
                '--observed name its topic?'
            )
        if len(self._seen) >= _OBSERVATIONS:
            self._record_pair()
        elif self._sent_at is not None and now - self._sent_at > _PATIENCE:
            self._skip()
        if self.done or self._sent_at is not None:
            return None
        self._sent_at = now
        joints = self._poses[self.place].joints
        before = self._snapshot.joint_targets if self._snapshot is not None else None
        way = float(np.abs(joints - before).max()) if before is not None else np.pi
        return PostureCommand(
            self._first_sequence + self.place, joints, max(_SHORTEST, way / _SPEED)
        )

    def _record_pair(self) -> None:
        assert self._snapshot is not None
        assert self._snapshot.joint_targets is not None
        sent = self._closed.motors_from_joints(self._snapshot.joint_targets)
        motors, joints = (np.mean(rows, axis=0) for rows in zip(*self._seen, strict=True))
        self._file.append(
            self._poses[self.place].sweep, np.clip(sent, *self._motor_limits), motors, joints
        )
        self.recorded += 1
        self._skips_in_a_row = 0
        self.place += 1
        self._begin_posture()

    def _skip(self) -> None:
        self.skipped += 1
        self._skips_in_a_row += 1
        if self._skips_in_a_row >= _SKIPS_IN_A_ROW:
            raise DeviceError(
                f'The hand came to rest in none of {_SKIPS_IN_A_ROW} postures within '
                f'{_PATIENCE:g} s each; does another program command it?'
            )
        self.place += 1
        self._begin_posture()
