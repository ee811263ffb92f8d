# SPDX-License-Identifier: Apache-2.0
"""Motors that something else drives, over `/hand/motor_command` and `/hand/motor_state`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from deft_core.decode import order_joints, time_from_msg
from deft_core.errors import DeviceError, InvalidInputError
from deft_core.nodes.encode import header
from deft_core.nodes.qos import COMMAND, STATE
from deft_core.validation import FloatArray, finite_array
from deft_hand_driver.motor_reading import BackendStatus, MotorReading
from deft_hand_driver.nodes.backend import done


class TopicsBackend:
    """Publishes commands and takes states; there is nothing to switch on."""

    def __init__(
        self,
        node: Node,
        motor_names: tuple[str, ...],
        silence_limit: float,
        guard: Callable[..., None],
    ) -> None:
        """Create publisher and subscription.

        Args:
            node: Owner of both.
            motor_names: In the order of every array.
            silence_limit: How old a state may be when the hand is enabled. [s].
            guard: Runs callbacks.
        """
        self._node = node
        self._names = motor_names
        self._silence_limit = silence_limit
        self._reading: MotorReading | None = None
        self._received: float | None = None
        self._publisher = node.create_publisher(JointState, '/hand/motor_command', COMMAND)
        node.create_subscription(
            JointState, '/hand/motor_state', lambda m: guard(self._on_state, m), STATE
        )

    def check(self) -> None:
        """See `MotorBackend`; nothing of it runs by itself."""

    def reading(self) -> MotorReading | None:
        """See `MotorBackend`."""
        return self._reading

    def silence(self) -> float:
        """See `MotorBackend`."""
        return float('inf') if self._received is None else time.monotonic() - self._received

    def status(self) -> BackendStatus:
        """See `MotorBackend`."""
        return BackendStatus(details={'age of motor state [s]': f'{self.silence():.3f}'})

    def send(self, positions: FloatArray) -> None:
        """See `MotorBackend`."""
        now = self._node.get_clock().now().nanoseconds * 1e-9
        self._publisher.publish(
            JointState(header=header(now, ''), name=list(self._names), position=positions.tolist())
        )

    def enable(self) -> Future[None]:
        """See `MotorBackend`."""
        if self.silence() <= self._silence_limit:
            return done()
        return done(
            DeviceError(
                f'No motor state for {self.silence():.1f} s on /hand/motor_state; is what drives '
                'the motors running?'
            )
        )

    def disable(self) -> Future[None]:
        """See `MotorBackend`."""
        return done()

    def stop(self, reason: str, held: FloatArray | None) -> None:
        """See `MotorBackend`."""
        del reason  # nobody on the other side reads it
        if held is not None:
            self.send(held)

    def clear(self) -> Future[None]:
        """See `MotorBackend`."""
        return done()

    def finish(self) -> None:
        """See `MotorBackend`; whoever drives the motors goes on holding them."""

    def _on_state(self, message: JointState) -> None:
        count = len(self._names)
        try:
            positions = finite_array(
                'motor positions',
                order_joints(message.name, message.position, self._names),
                (count,),
            )
            velocities = self._ordered(message, message.velocity)
            currents = self._ordered(message, message.effort)
        except InvalidInputError as error:
            # Counts as silence: the watchdog acts when nothing better follows.
            self._node.get_logger().error(
                f'Refused a motor state: {error}', throttle_duration_sec=1.0
            )
            return
        nothing = np.full(count, np.nan)
        self._reading = MotorReading(
            stamp=time_from_msg(message.header.stamp),
            positions=positions,
            velocities=velocities,
            currents=currents,
            temperatures=nothing,
            voltages=nothing,
            errors=np.zeros(count, dtype=np.uint8),
            ages=np.zeros(count),
        )
        self._received = time.monotonic()

    def _ordered(self, message: JointState, values: list[float]) -> FloatArray:
        """Optional values of a JointState; NaN where it has none."""
        if len(values) == 0:
            return np.full(len(self._names), np.nan)
        return order_joints(message.name, values, self._names)
