# SPDX-License-Identifier: Apache-2.0
"""Drives the hand: joint commands in, motor commands and state out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from deft_core.decode import order_joints
from deft_core.errors import ConfigurationError, DeviceError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.encode import header
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import COMMAND, LATCHED, STATE, STATE_PUBLISHER
from deft_core.nodes.runner import run_node
from deft_core.validation import FloatArray
from deft_hand_driver.controller import HandController, HandMode
from deft_hand_driver.description import MOTOR_NAMES, load_hand_description
from deft_hand_driver.tendon_map import TendonMap
from deft_msgs.msg import EmergencyStop, HandCommand, HandState

_WATCHDOG_PERIOD: Final = 0.05  # [s] of real time
NEVER: Final = 'never'
SIMULATION: Final = 'simulation'
_STATES: Final = {
    HandMode.DISABLED: HandState.DISABLED,
    HandMode.ENABLED: HandState.ENABLED,
    HandMode.FAULT: HandState.FAULT,
}


@dataclass(frozen=True)
class HandDriverParameters:
    """Parameters of the node `hand_driver`."""

    hand: str = field(default='dash', metadata={'doc': 'name of a file in config/hands'})
    rate: float = field(
        default=50.0,
        metadata={'minimum': 5.0, 'maximum': 500.0, 'unit': 'Hz', 'doc': 'command cycles'},
    )
    motor_state_timeout: float = field(
        default=0.5,
        metadata={
            'minimum': 0.05,
            'maximum': 60.0,
            'unit': 's',
            'doc': 'real time without a motor state before an enabled hand goes to fault',
        },
    )
    enable_on_start: str = field(
        default=NEVER,
        metadata={'doc': 'never, or simulation: at the first motor state if use_sim_time is set'},
    )

    def __post_init__(self) -> None:
        """Check the names."""
        if self.enable_on_start not in (NEVER, SIMULATION):
            raise ConfigurationError(
                f'enable_on_start must be {NEVER!r} or {SIMULATION!r}, '
                f'got {self.enable_on_start!r}.'
            )


class HandDriverNode(Node):
    """Thin shell around `HandController`.

    Every callback is guarded: where one fails, the controller goes to its safe state and the hold
    is sent before the exception ends the process.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces; the hand stays disabled.

        Args:
            options: Passed to `rclpy.node.Node`, such as a context.

        Raises:
            ConfigurationError: A parameter or the file of the hand is wrong.
        """
        super().__init__('hand_driver', **options)
        self._settings = declare_parameters(self, HandDriverParameters)
        self._map = TendonMap(load_hand_description(self._settings.hand))
        self._controller = HandController(self._map)
        self._motor_state: JointState | None = None
        self._received: float | None = None
        self._stopped = False
        self._wants_enable = (
            self._settings.enable_on_start == SIMULATION
            and self.get_parameter('use_sim_time').value
        )
        self._motor_publisher = self.create_publisher(JointState, '/hand/motor_command', COMMAND)
        self._state_publisher = self.create_publisher(HandState, '/hand/state', STATE_PUBLISHER)
        self._joint_publisher = self.create_publisher(
            JointState, '/hand/joint_states', STATE_PUBLISHER
        )
        self._subscribe(HandCommand, '/hand/command', self._on_command, COMMAND)
        self._subscribe(JointState, '/hand/motor_state', self._on_motor_state, STATE)
        self._subscribe(EmergencyStop, '/emergency_stop', self._on_stop, LATCHED)
        self.create_service(SetBool, '/hand/enable', self._on_enable)
        self.create_service(Trigger, '/hand/clear_fault', self._on_clear_fault)
        self.create_timer(1.0 / self._settings.rate, partial(self._guard, self._cycle))
        # The ROS clock stops together with a simulation; the watchdog must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_WATCHDOG_PERIOD, partial(self._guard, self._watch), clock=steady)

    def close(self) -> None:
        """Leave the motors holding what is measured."""
        if self._controller.mode is HandMode.ENABLED:
            self._controller.fault('The driver was stopped; start it again.')
            self._send_motors(self._controller.sent)

    def _subscribe(self, kind: Any, topic: str, callback: Callable[..., None], qos: Any) -> None:
        self.create_subscription(kind, topic, lambda m: self._guard(callback, m), qos)

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback; the safe state comes before the end of the process."""
        done = False
        try:
            callback(*arguments)
            done = True
        finally:
            if not done:
                self._enter_fault('The driver failed; see its log and start it again.')

    def _enter_fault(self, reason: str) -> None:
        self._controller.fault(reason)
        self.get_logger().error(reason)
        self._send_motors(self._controller.sent)
        self._publish_state()

    def _on_command(self, message: HandCommand) -> None:
        try:
            joints = order_joints(message.joint_names, message.joint_positions, HAND_JOINT_NAMES)
            clipped = self._controller.command(
                joints, message.duration, message.sequence, self._now()
            )
        except (InvalidInputError, SafetyError) as error:
            self.get_logger().warning(f'Refused hand command {message.sequence}: {error}')
            return
        if clipped:
            self.get_logger().info(f'Hand command {message.sequence} was cut to the joint travel.')

    def _on_motor_state(self, message: JointState) -> None:
        try:
            self._controller.observe(order_joints(message.name, message.position, MOTOR_NAMES))
        except InvalidInputError as error:
            # Counts as silence: the watchdog acts when nothing better follows.
            self.get_logger().error(f'Refused a motor state: {error}', throttle_duration_sec=1.0)
            return
        self._motor_state = message
        self._received = time.monotonic()
        if self._wants_enable and not self._stopped:
            self._wants_enable = False
            self._controller.enable()

    def _on_stop(self, message: EmergencyStop) -> None:
        self._stopped = message.pressed
        if message.pressed and self._controller.mode is not HandMode.FAULT:
            self._enter_fault(
                f'Emergency stop by {message.source}: {message.reason}. Release it, then call '
                '/hand/clear_fault and /hand/enable.'
            )

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        if not request.data:
            self._controller.disable()
            response.success = True
            response.message = f'The hand is {self._controller.mode.value}.'
            return response
        try:
            self._require_fresh_motors()
            self._controller.enable()
        except (DeviceError, SafetyError) as error:
            response.message = str(error)
            return response
        response.success = True
        response.message = 'The hand is enabled and holds its pose.'
        return response

    def _on_clear_fault(self, _: Trigger.Request, response: Trigger.Response) -> Any:
        if self._stopped:
            response.message = 'The emergency stop is pressed; release it first.'
            return response
        self._controller.clear_fault()
        response.success = True
        response.message = f'The hand is {self._controller.mode.value}.'
        return response

    def _require_fresh_motors(self) -> None:
        faulted = self._controller.mode is HandMode.FAULT  # which is told first
        if not faulted and self._silence() > self._settings.motor_state_timeout:
            raise DeviceError(
                f'No motor state for {self._silence():.1f} s on /hand/motor_state; is what drives '
                'the motors running?'
            )

    def _silence(self) -> float:
        """Real time since the last motor state. [s]."""
        return float('inf') if self._received is None else time.monotonic() - self._received

    def _watch(self) -> None:
        silence = self._silence()
        enabled = self._controller.mode is HandMode.ENABLED
        if enabled and silence > self._settings.motor_state_timeout:
            self._enter_fault(
                f'No motor state for {silence:.2f} s, allowed are '
                f'{self._settings.motor_state_timeout} s; check the motors, then call '
                '/hand/clear_fault and /hand/enable.'
            )

    def _cycle(self) -> None:
        self._send_motors(self._controller.update(self._now()))
        self._publish_state()

    def _send_motors(self, motors: FloatArray | None) -> None:
        if motors is not None and self._controller.mode is not HandMode.DISABLED:
            self._motor_publisher.publish(
                JointState(
                    header=header(self._now(), ''),
                    name=list(MOTOR_NAMES),
                    position=motors.tolist(),
                )
            )

    def _publish_state(self) -> None:
        controller = self._controller
        if controller.measured is None or self._motor_state is None:
            return
        joints = self._map.joints_from_motors(controller.measured).tolist()
        targets = (
            []
            if controller.sent is None
            else self._map.joints_from_commands(controller.sent).tolist()
        )
        state = HandState(
            header=self._motor_state.header,
            state=_STATES[controller.mode],
            fault=controller.fault_reason,
            sequence=controller.sequence,
            settled=controller.settled,
            joint_names=list(HAND_JOINT_NAMES),
            joint_positions=joints,
            joint_targets=targets,
            motor_names=list(self._motor_state.name),
            motor_positions=list(self._motor_state.position),
            motor_velocities=list(self._motor_state.velocity),
            motor_currents=list(self._motor_state.effort),
            motor_temperatures=[float('nan')] * len(MOTOR_NAMES),
            motor_voltages=[float('nan')] * len(MOTOR_NAMES),
            motor_errors=[0] * len(MOTOR_NAMES),
            cycle_time=float('nan'),
        )
        self._state_publisher.publish(state)
        self._joint_publisher.publish(
            JointState(header=state.header, name=list(HAND_JOINT_NAMES), position=joints)
        )

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return self.get_clock().now().nanoseconds * 1e-9


def main() -> int:
    """Run the node."""
    return run_node(HandDriverNode)
