# SPDX-License-Identifier: Apache-2.0
"""Drives the hand: joint commands in, motor commands and state out."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from deft_core.decode import order_joints, time_from_msg
from deft_core.errors import DeftError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import (
    COMMAND,
    LATCHED,
    LEASED_COMMAND,
    LEASED_LATCHED,
    STATE_PUBLISHER,
)
from deft_core.nodes.runner import run_node
from deft_hand_driver.calibration.learned_map import choose_map
from deft_hand_driver.controller import HandController, HandMode
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.joint_map import SPOOL, TENDON_LENGTH
from deft_hand_driver.motor_reading import MotorReading
from deft_hand_driver.nodes.backend import Finished, MotorBackend
from deft_hand_driver.nodes.bus_backend import BusBackend
from deft_hand_driver.nodes.diagnostics import diagnostic_array, hand_status, motor_statuses
from deft_hand_driver.nodes.hand_driver_parameters import (
    BUS,
    SIMULATION,
    STOP,
    HandDriverParameters,
)
from deft_hand_driver.nodes.peer_watch import PeerWatch
from deft_hand_driver.nodes.state_message import state_messages
from deft_hand_driver.nodes.topics_backend import TopicsBackend
from deft_msgs.msg import EmergencyStop, HandCommand, HandState

_WATCHDOG_PERIOD: Final = 0.02  # [s] of real time
_STATE_PERIOD: Final = 0.0175  # [s] of real time: every second cycle at 100 Hz
_DIAGNOSTIC_PERIOD: Final = 1.0  # [s] of real time
_LONGEST_BRAKING: Final = 0.5  # [s] at the end of the node
_NO_STOP_BUTTON: Final = (
    'The sender of /emergency_stop is gone, which counts as pressed; start it again, then call '
    '/hand/clear_fault and /hand/enable.'
)


class HandDriverNode(Node):
    """Thin shell around `HandController` and a back end that drives the motors.

    Every callback is guarded: where one fails, the hand goes to its safe state before the
    exception ends the process.
    """

    def __init__(self, **options: Any) -> None:
        """Create the interfaces; the hand stays disabled.

        Args:
            options: Passed to `rclpy.node.Node`, such as a context.

        Raises:
            ConfigurationError: A parameter, the file of the hand or its learned map is wrong.
        """
        super().__init__('hand_driver', **options)
        self._settings = declare_parameters(self, HandDriverParameters)
        self._description = load_hand_description(self._settings.hand)
        on_bus = self._settings.transport == BUS
        self._map, self._map_summary = choose_map(
            self._settings.joint_map, self._description, SPOOL if on_bus else TENDON_LENGTH
        )
        self._controller = HandController(self._map)
        self._stopped = False
        self._failed = False
        self._commanded_at: float | None = None
        self._last_rejection = ''
        self._rejected = 0
        self._enabling: Future[None] | None = None
        self._next_state = 0.0
        self._watched_at = 0.0
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
        self._subscribe(HandCommand, '/hand/command', self._on_command, COMMAND)
        self._subscribe(EmergencyStop, '/emergency_stop', self._on_stop, LATCHED)
        self._commander = PeerWatch(
            self, HandCommand, '/hand/command', LEASED_COMMAND, self._guard
        )
        self._stop_button = PeerWatch(
            self, EmergencyStop, '/emergency_stop', LEASED_LATCHED, self._guard
        )
        self._serve(SetBool, '/hand/enable', self._on_enable)
        self._serve(Trigger, '/hand/clear_fault', self._on_clear_fault)
        # The ROS clock stops together with a simulation; watchdogs and a bus must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._backend = self._make_backend()
        self._timer(1.0 / self._settings.rate, self._cycle, steady if on_bus else None)
        if not on_bus:
            self._timer(_WATCHDOG_PERIOD, self._watch, steady)
        self._timer(_DIAGNOSTIC_PERIOD, self._publish_diagnostics, steady)

    def close(self) -> None:
        """Bring a moving hand to rest and leave the motors in their end state."""
        try:
            if self._controller.mode is HandMode.ENABLED and not self._failed:
                self._come_to_rest()
                self._controller.fault('The driver was stopped; start it again.')
                if self._settings.transport != BUS and self._controller.sent is not None:
                    self._backend.send(self._controller.sent)
        finally:
            self._backend.finish()

    def _make_backend(self) -> MotorBackend:
        settings = self._settings
        if settings.transport == BUS:
            return BusBackend(self, self._description, settings.bus_settings())
        names, limit = self._description.motor_names, settings.motor_state_timeout
        return TopicsBackend(self, names, limit, self._guard)

    def _come_to_rest(self) -> None:
        """Brake on real time: the ROS clock may have stopped already."""
        self._controller.interrupt('The driver is ending.')
        begin, now = time.monotonic(), self._now()
        pause = threading.Event()
        while (elapsed := time.monotonic() - begin) < _LONGEST_BRAKING:
            motors = self._controller.update(now + elapsed)
            if motors is not None:
                self._backend.send(motors)
            if not self._controller.braking:
                return
            pause.wait(1.0 / self._settings.rate)

    def _subscribe(self, kind: Any, topic: str, callback: Callable[..., None], qos: Any) -> None:
        self.create_subscription(kind, topic, lambda m: self._guard(callback, m), qos)

    def _serve(self, kind: Any, name: str, answer: Callable[[Any, Any], Awaitable[None]]) -> None:
        """Offer a service; a refusal becomes its message, anything else ends the process."""

        async def respond(request: Any, response: Any) -> Any:
            finished = False
            try:
                await answer(request, response)
                response.success = True
                finished = True
            except DeftError as error:
                response.message = str(error)
                finished = True
            finally:
                if not finished:
                    self._fail()
            return response

        self.create_service(kind, name, respond)

    def _timer(self, period: float, callback: Callable[[], None], clock: Clock | None) -> None:
        self.create_timer(period, partial(self._guard, callback), clock=clock)

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run a callback; the safe state comes before the end of the process."""
        finished = False
        try:
            callback(*arguments)
            finished = True
        finally:
            if not finished:
                self._fail()

    def _fail(self) -> None:
        self._failed = True
        self._enter_fault('The driver failed; see its log and start it again.')

    def _enter_fault(self, reason: str) -> None:
        self._controller.fault(reason)
        self.get_logger().error(reason)
        self._backend.stop(reason, self._controller.sent)
        self._publish_state()
        self._publish_diagnostics()

    def _on_command(self, message: HandCommand) -> None:
        try:
            self._require_current(message)
            joints = order_joints(message.joint_names, message.joint_positions, HAND_JOINT_NAMES)
            clipped = self._controller.command(
                joints, message.duration, message.sequence, self._now()
            )
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

    def _on_stop(self, message: EmergencyStop) -> None:
        self._stopped = message.pressed
        if message.pressed and self._controller.mode is not HandMode.FAULT:
            self._enter_fault(
                f'Emergency stop by {message.source}: {message.reason}. Release it, then call '
                '/hand/clear_fault and /hand/enable.'
            )

    async def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> None:
        if not request.data:
            self._controller.disable()
            await Finished(self._backend.disable())
            response.message = f'The hand is {self._controller.mode.value}.'
            return
        if self._controller.mode is HandMode.FAULT:
            self._controller.enable()  # tells why it cannot be
        self._require_stop_button()
        await Finished(self._backend.enable())
        self._finish_enabling()
        response.message = 'The hand is enabled and holds its pose.'

    def _finish_enabling(self) -> None:
        """The motors hold; from here on the controller commands them."""
        reading = self._backend.reading()
        if reading is not None:
            self._controller.observe(reading.positions)
        self._commanded_at = None
        self._controller.enable()

    async def _on_clear_fault(self, _: Trigger.Request, response: Trigger.Response) -> None:
        if self._stopped:
            raise SafetyError('The emergency stop is pressed; release it first.')
        await Finished(self._backend.clear())
        self._controller.clear_fault()
        response.message = f'The hand is {self._controller.mode.value}.'

    def _watch(self) -> None:
        """Look for silence: of the motors, of the commander, of the emergency stop."""
        settings = self._settings
        now = time.monotonic()
        previous, self._watched_at = self._watched_at, now
        # Where this process was held up itself, nobody else has been silent.
        held_up = now - previous > max(0.5 * settings.motor_state_timeout, 3.0 / settings.rate)
        if self._controller.mode is not HandMode.ENABLED or held_up:
            return
        if self._stop_button.lost and settings.emergency_stop_lost == STOP:
            self._enter_fault(_NO_STOP_BUTTON)
            return
        silence = self._backend.silence()
        if silence > settings.motor_state_timeout:
            self._enter_fault(
                f'No motor state for {silence:.2f} s, allowed are '
                f'{settings.motor_state_timeout} s; check the motors, then call '
                '/hand/clear_fault and /hand/enable.'
            )
            return
        if self._commanded_at is None or self._controller.interruption:
            return
        since = time.monotonic() - self._commanded_at
        if settings.command_timeout > 0.0 and since > settings.command_timeout:
            self._interrupt(f'No command on /hand/command for {since:.2f} s')
        elif self._commander.lost and self._commander.missing_for >= settings.commander_grace:
            self._interrupt('The sender of /hand/command is gone')

    def _require_stop_button(self) -> None:
        if self._stop_button.lost and self._settings.emergency_stop_lost == STOP:
            raise SafetyError(_NO_STOP_BUTTON)

    def _interrupt(self, reason: str) -> None:
        self._controller.interrupt(reason)
        self.get_logger().warning(f'{reason}: the hand holds; it follows the next new command.')
        self._publish_diagnostics()

    def _cycle(self) -> None:
        self._backend.check()
        reading = self._backend.reading()
        if reading is not None:
            self._controller.observe(reading.positions)
        fault = self._backend.status().fault
        if fault and reading is not None and self._controller.mode is not HandMode.FAULT:
            self._enter_fault(fault)
        if self._settings.transport == BUS:
            self._watch()
        self._enable_by_itself(reading)
        motors = self._controller.update(self._now())
        if motors is not None and self._controller.mode is not HandMode.DISABLED:
            self._backend.send(motors)
        now = time.monotonic()
        if now >= self._next_state:
            self._next_state = now + _STATE_PERIOD
            self._publish_state()

    def _enable_by_itself(self, reading: MotorReading | None) -> None:
        """Enable a simulated hand as soon as it is there."""
        if self._wants_enable and reading is not None and not self._stopped:
            self._wants_enable = False
            self._enabling = self._backend.enable()
        if self._enabling is not None and self._enabling.done():
            self._enabling.result()
            self._enabling = None
            self._finish_enabling()

    def _publish_state(self) -> None:
        reading = self._backend.reading()
        if reading is None:
            return
        state, joints = state_messages(self._controller, self._map, reading)
        self._state_publisher.publish(state)
        self._joint_publisher.publish(joints)

    def _publish_diagnostics(self) -> None:
        controller, settings = self._controller, self._settings
        status = self._backend.status()
        warnings = list(status.warnings)
        if controller.interruption:
            warnings.append(controller.interruption)
        if self._stop_button.lost:
            warnings.append('the sender of /emergency_stop is gone')
        details = {
            'transport': settings.transport,
            'joint map': self._map_summary,
            'commands rejected': str(self._rejected),
            'commands cut to the travel': str(controller.clipped),
            'last rejection': self._last_rejection or 'none',
            'senders of /hand/command with a lease': str(self._commander.alive),
            'senders of /emergency_stop with a lease': str(self._stop_button.alive),
            **status.details,
        }
        hand, names = self._description.name, self._description.motor_names
        faults = [controller.fault_reason or status.fault]
        statuses = [hand_status(hand, controller.mode.value, faults, warnings, details)]
        reading = self._backend.reading()
        if reading is not None:
            statuses += motor_statuses(hand, names, reading, settings.motor_state_timeout)
        self._diagnostic_publisher.publish(diagnostic_array(self._now(), statuses))

    def _now(self) -> float:
        """Seconds of the ROS clock."""
        return self.get_clock().now().nanoseconds * 1e-9


def main() -> int:
    """Run the node."""
    return run_node(HandDriverNode)
