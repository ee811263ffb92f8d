# SPDX-License-Identifier: Apache-2.0
"""Drives the hand: joint commands in, the motors on their bus, and state out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from deft_core.decode import order_joints, time_from_msg
from deft_core.errors import DeftError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.emergency_stop import EmergencyStopMonitor
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import COMMAND, LEASED_COMMAND, STATE_PUBLISHER
from deft_core.nodes.runner import run_node
from deft_hand_driver.calibration.learned_map import choose_map
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.hand import Hand, HandMode
from deft_hand_driver.nodes.hand_driver_parameters import (
    SIMULATION,
    WARN,
    HandDriverParameters,
)
from deft_hand_driver.nodes.messages import (
    diagnostic_array,
    hand_status,
    motor_statuses,
    state_messages,
)
from deft_msgs.msg import HandCommand, HandState

_STATE_PERIOD: Final = 0.0175  # [s] of real time: every second cycle at 100 Hz
_DIAGNOSTIC_PERIOD: Final = 1.0  # [s] of real time


class HandDriverNode(Node):
    """Thin shell around `Hand`, whose bus it exchanges with in a timer.

    There is no thread for the bus: an exchange with all motors takes some milliseconds, what takes
    longer (opening a port, rebooting) happens while the motors have no torque or hold, and where
    this process is held up, the bus watchdog of the motors stops the hand.

    Every callback is guarded: where one fails, the hand goes to its safe state before the
    exception ends the process.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces; the hand stays disabled."""
        super().__init__('hand_driver', **options)
        self._settings = declare_parameters(self, HandDriverParameters)
        self._description = load_hand_description(self._settings.hand)
        self._map, self._map_summary = choose_map(self._settings.joint_map, self._description)
        self._hand = Hand(self._map, self._settings.hand_settings())
        self._commanded_at: float | None = None
        self._last_rejection = ''
        self._rejected = 0
        self._next_state = 0.0
        self._watched_at = 0.0
        self._commanders = 0
        self._commander_lost_at: float | None = None
        self._stations = 0
        self._station_lost = False
        self._wants_enable = (
            self._settings.enable_on_start == SIMULATION
            and self.get_parameter('use_sim_time').value
        )
        self._state_publisher = self.create_publisher(HandState, '/hand/state', STATE_PUBLISHER)
        self._joint_publisher = self.create_publisher(
            JointState, '/hand/joint_states', STATE_PUBLISHER
        )
        self._diagnostic_publisher = self.create_publisher(
            DiagnosticArray, '/diagnostics', STATE_PUBLISHER
        )
        self.create_subscription(
            HandCommand, '/hand/command', partial(self._guard, self._on_command), COMMAND
        )
        # Hears commanders with a lease alone; the subscription above takes all commands.
        self.create_subscription(
            HandCommand,
            '/hand/command',
            lambda _: None,
            LEASED_COMMAND,
            event_callbacks=SubscriptionEventCallbacks(
                liveliness=partial(self._guard, self._on_commanders), use_default_callbacks=False
            ),
        )
        self._emergency_stop = EmergencyStopMonitor(self, partial(self._guard, self._obey_stop))
        self._serve(SetBool, '/hand/enable', self._on_enable)
        self._serve(Trigger, '/hand/clear_fault', self._on_clear_fault)
        # The ROS clock stops together with a simulation; watchdogs and a bus must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period, callback in (
            (1.0 / self._settings.rate, self._cycle),
            (_DIAGNOSTIC_PERIOD, self._publish_diagnostics),
        ):
            self.create_timer(period, partial(self._guard, callback), clock=steady)

    def close(self) -> None:
        """Bring a moving hand to rest and leave the motors in their end state."""
        self._hand.finish()

    def _serve(self, kind: Any, name: str, answer: Callable[[Any], str]) -> None:
        """Offer a service; a refusal becomes its message, anything else ends the process."""

        def respond(request: Any, response: Any) -> None:
            try:
                response.message = answer(request)
                response.success = True
            except DeftError as error:
                response.message = str(error)

        def guarded(request: Any, response: Any) -> Any:
            self._guard(respond, request, response)
            return response

        self.create_service(kind, name, guarded)

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback; the safe state comes before the end of the process."""
        finished = False
        try:
            callback(*arguments)
            finished = True
        finally:
            if not finished:
                self._fail('The driver failed; see its log and start it again.')

    def _fail(self, reason: str) -> None:
        self._hand.fail(reason)
        self._tell_fault()

    def _tell_fault(self) -> None:
        self.get_logger().error(self._hand.fault)
        self._publish_state()
        self._publish_diagnostics()

    def _on_command(self, message: HandCommand) -> None:
        try:
            self._require_current(message)
            joints = order_joints(message.joint_names, message.joint_positions, HAND_JOINT_NAMES)
            clipped = self._hand.command(joints, message.duration, message.sequence, self._now())
        except (InvalidInputError, SafetyError) as error:
            self._rejected += 1
            self._last_rejection = f'command {message.sequence}: {error}'
            self.get_logger().warning(f'Refused hand command {message.sequence}: {error}')
            return
        self._commanded_at = time.monotonic()
        if clipped:
            self.get_logger().info(f'Hand command {message.sequence} was cut to the joint travel.')

    def _require_current(self, message: HandCommand) -> None:
        """Refuse a command that was held up, or that comes from another clock; 0 is no stamp."""
        stamp = time_from_msg(message.header.stamp)
        age = self._now() - stamp
        if stamp != 0.0 and abs(age) > self._settings.command_age_limit:
            raise InvalidInputError(
                f'Its stamp is {age:.2f} s old, allowed are {self._settings.command_age_limit} s '
                'either way; compare the clocks of sender and driver.'
            )

    def _on_commanders(self, info: QoSLivelinessChangedInfo) -> None:
        if info.alive_count > 0:
            self._commander_lost_at = None
        elif self._commanders > 0:
            self._commander_lost_at = time.monotonic()
        self._commanders = info.alive_count

    def _obey_stop(self) -> None:
        """Stop at once when an emergency stop is pressed or its station is lost."""
        stop = self._emergency_stop
        if self._settings.emergency_stop_lost == WARN:
            stop.accept_loss()
        if stop.stations != self._stations:
            self._station_lost = stop.stations < self._stations
            self._stations = stop.stations
        problem = stop.problem()
        if problem and self._hand.mode is not HandMode.FAULT:
            self._fail(f'{problem} Release it, then call /hand/clear_fault and /hand/enable.')

    def _on_enable(self, request: SetBool.Request) -> str:
        if not request.data:
            self._hand.disable()
            return f'The hand is {self._hand.mode.value}.'
        self._enable()
        return 'The hand is enabled and holds its pose.'

    def _enable(self) -> None:
        if problem := self._emergency_stop.problem():
            raise SafetyError(f'{problem} Release it, then call /hand/clear_fault.')
        self._hand.enable()
        self._commanded_at = None

    def _on_clear_fault(self, _: Trigger.Request) -> str:
        # A person has looked at the hand, and says that lost stations are gone for good.
        self._emergency_stop.accept_loss()
        if problem := self._emergency_stop.problem():
            raise SafetyError(f'The emergency stop is pressed; release it first. {problem}')
        self._hand.clear_fault()
        return f'The hand is {self._hand.mode.value}.'

    def _cycle(self) -> None:
        before = self._hand.mode
        self._hand.cycle(self._now())
        if self._hand.mode is HandMode.FAULT and before is not HandMode.FAULT:
            self._tell_fault()
        self._watch_commander()
        sample = self._hand.sample
        ready = sample is not None and sample.complete and not self._emergency_stop.problem()
        if self._wants_enable and ready:
            self._wants_enable = False
            self._enable()
        now = time.monotonic()
        if now >= self._next_state:
            self._next_state = now + _STATE_PERIOD
            self._publish_state()

    def _watch_commander(self) -> None:
        """A stream of commands that ends, or a sender that dies, breaks the motion off."""
        settings = self._settings
        now = time.monotonic()
        previous, self._watched_at = self._watched_at, now
        # Where this process was held up itself, nobody else has been silent.
        held_up = now - previous > max(0.5 * settings.motor_state_timeout, 3.0 / settings.rate)
        if held_up or self._commanded_at is None or self._hand.interruption:
            return
        if self._hand.mode is not HandMode.ENABLED:
            return
        since, lost_at = now - self._commanded_at, self._commander_lost_at
        if settings.command_timeout > 0.0 and since > settings.command_timeout:
            self._interrupt(f'No command on /hand/command for {since:.2f} s')
        elif lost_at is not None and now - lost_at >= settings.commander_grace:
            self._interrupt('The sender of /hand/command is gone')

    def _interrupt(self, reason: str) -> None:
        self._hand.interrupt(reason)
        self.get_logger().warning(f'{reason}: the hand holds; it follows the next new command.')
        self._publish_diagnostics()

    def _publish_state(self) -> None:
        sample = self._hand.sample
        if sample is None or not sample.complete:
            return
        state, joints = state_messages(self._hand, self._map, sample, self._now())
        self._state_publisher.publish(state)
        self._joint_publisher.publish(joints)

    def _publish_diagnostics(self) -> None:
        hand, settings = self._hand, self._settings
        warnings = [hand.interruption] if hand.interruption else []
        if self._station_lost:
            warnings.append('an emergency stop station is gone')
        details = {
            'port': settings.port,
            'joint map': self._map_summary,
            'commands rejected': str(self._rejected),
            'last rejection': self._last_rejection or 'none',
            'senders of /hand/command with a lease': str(self._commanders),
            'emergency stop stations': str(self._stations),
        }
        name = self._description.name
        statuses = [hand_status(name, hand, warnings, details)]
        if hand.sample is not None and hand.sample.complete:
            statuses += motor_statuses(
                name, self._description.motor_names, hand.sample, settings.motor_state_timeout
            )
        self._diagnostic_publisher.publish(diagnostic_array(self._now(), statuses))

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return self.get_clock().now().nanoseconds * 1e-9


def main() -> int:
    """Run the node."""
    return run_node(HandDriverNode, 'hand_driver')
