# SPDX-License-Identifier: Apache-2.0
"""Drives the arm through the services and topics of xarm_ros2's driver (package xarm_api)."""

from __future__ import annotations

import enum
import time
from typing import Final

import numpy as np
from rclpy.node import Node

from deft_arm.configuration import ArmConfiguration
from deft_arm.faults import Fault
from deft_arm.kinematics import ArmKinematics
from deft_arm.nodes.backend import Measurement
from deft_arm.nodes.xarm_calls import TO_BE_SWITCHED_ON, XArmCalls
from deft_arm.nodes.xarm_parameters import XArmParameters
from deft_arm.paths import ARM_JOINTS, JointPath
from deft_arm.xarm_bringup import clearing, enabling, ready, settings_calls
from deft_arm.xarm_codes import (
    ALL_JOINTS_ENABLED,
    SET_STOP,
    State,
    controller_error,
    describe_error,
    describe_return,
    describe_state,
)
from deft_arm.xarm_queue import CommandFeed, JointCommand, commands_of
from deft_core.clock import Deadline
from deft_core.errors import InvalidInputError
from deft_core.nodes.qos import STATE
from deft_core.validation import finite_array
from xarm_msgs.msg import RobotMsg

_READY_TIME: Final = 3.0  # [s] until a report shows what the calls of a bring-up have done
_STOP_PERIOD: Final = 0.5  # [s] between stop commands to an arm that goes on
_MILLIMETRE: Final = 0.001


class Stage(enum.Enum):
    """How far the controller is from taking motion commands."""

    ABSENT = 'the driver of the arm'
    PREPARING = 'the controller to take its settings'
    CONFIRMING = 'the controller to report that it is ready'
    READY = 'nothing'
    STOPPING = 'the arm to come to rest'
    STOPPED = 'a person to clear the fault'


class XArmApiBackend:
    """Feeds planned paths to the command queue of the controller, a few commands ahead.

    Only calls that do not wait: the driver has one thread, and a waiting call would block the
    stop. A return code of 0 proves little (some are swallowed by the driver), so that motion
    counts as done when pose, state and command counter say so.
    """

    own_pace = True

    def __init__(
        self,
        node: Node,
        parameters: XArmParameters,
        configuration: ArmConfiguration,
        kinematics: ArmKinematics,
        state_timeout: float,
    ) -> None:
        """Create clients and subscription on `node`.

        Args:
            node: Owner.
            parameters: Of this back end.
            configuration: Limits, and what is set on the controller.
            kinematics: To compare the reported pose with.
            state_timeout: Real time without a report after which the driver counts as gone. [s].
        """
        self._node = node
        self._parameters = parameters
        self._configuration = configuration
        self._kinematics = kinematics
        self._state_timeout = state_timeout
        self._calls = XArmCalls(
            node,
            parameters.xarm_namespace,
            parameters.call_timeout,
            with_settings=parameters.controller_settings,
        )
        self._feed = CommandFeed(parameters.queue_depth)
        self._stage = Stage.ABSENT
        self._report: RobotMsg | None = None
        self._incident: Fault | None = None
        self._refusal = ''  # what a call was answered, until the report explains it
        self._abnormal: Deadline | None = None
        self._confirm_by: Deadline | None = None
        self._error_by: Deadline | None = None
        self._stop_again: Deadline | None = None
        self._to_clear = False
        self._configured = False
        self.measurement: Measurement | None = None
        self.source = f'{parameters.xarm_namespace}/robot_states'
        node.create_subscription(RobotMsg, self.source, self._on_report, STATE)

    @property
    def ready(self) -> bool:
        """Whether a path can be started now."""
        return self._stage is Stage.READY

    @property
    def waits_for(self) -> str:
        """What it waits for while it is not ready."""
        missing = self._calls.missing()
        off = [name for name in missing if name in TO_BE_SWITCHED_ON]
        if off and len(off) == len(missing):
            return (
                f'services of the driver that are off: set services.{off[0]}'
                + (f' and {len(off) - 1} more' if len(off) > 1 else '')
                + ' to true in xarm_user_params.yaml (config/drivers has the file)'
            )
        return self._stage.value

    @property
    def idle(self) -> bool:
        """Whether queue and state say that the arm has nothing to do."""
        return (
            self._report is not None
            and self._feed.empty
            and self._report.cmdnum == 0
            and self._report.state == State.READY
        )

    @property
    def error_code(self) -> int:
        """Error code of the controller."""
        return 0 if self._report is None else int(self._report.err)

    def incident(self) -> Fault | None:
        """What went wrong since the last call."""
        incident, self._incident = self._incident, None
        return incident

    def start(self, path: JointPath) -> None:
        """Begin a path; a path at rest sends nothing."""
        self._feed.load(commands_of(path, self._parameters.acceleration))
        self._pump()

    def halt(self, held: JointPath | None) -> None:  # noqa: ARG002 (the controller holds by itself)
        """Stop the controller; it takes nothing until a person has cleared the fault."""
        self._stop(Stage.STOPPED)

    def brake(self, path: JointPath) -> None:  # noqa: ARG002 (the controller brakes by itself)
        """Stop the controller and make it ready again as soon as the arm rests."""
        self._stop(Stage.STOPPING)

    def recover(self) -> None:
        """Clear errors, enable the motors, set the mode and state 0."""
        self._to_clear = True
        self._configured = False
        self._incident = None
        self._stage = Stage.ABSENT
        self.cycle()

    def cycle(self) -> None:
        """Go on with bring-up, feed or supervision."""
        self._calls.look()
        if self._calls.missing():
            self._configured = False  # another driver, perhaps another controller
        if not self._present():
            if self._stage is Stage.READY:  # what it does meanwhile is not known
                self._feed.clear()
                self._stage = Stage.ABSENT
        elif self._stage is Stage.ABSENT:
            self._prepare()
        elif self._stage is Stage.CONFIRMING:
            self._confirm()
        elif self._stage is Stage.READY:
            self._supervise()
            self._pump()
        elif self._stage is Stage.STOPPING and self._at_rest():
            self._enable()
        elif self._stage is Stage.STOPPED and self._moves_on():
            self._send_stop()  # the driver was away when the arm was to stop

    def _on_report(self, message: RobotMsg) -> None:
        try:
            joints = finite_array('joint angles', message.angle[:ARM_JOINTS], (ARM_JOINTS,))
        except InvalidInputError as error:
            self._node.get_logger().error(
                f'Refused {self.source}: {error}', throttle_duration_sec=1.0
            )
            return
        self._report = message
        self.measurement = Measurement(joints, [], time.monotonic(), message.header.stamp)
        self._feed.reported(int(message.cmdnum))
        if self._stage is Stage.READY:
            self._supervise()
            self._pump()

    def _present(self) -> bool:
        """Whether the driver reports and offers its services."""
        measured = self.measurement
        fresh = measured is not None and time.monotonic() - measured.received < self._state_timeout
        return fresh and not self._calls.missing()

    def _prepare(self) -> None:
        report = self._report
        assert report is not None
        if report.err and not self._to_clear:
            # Whoever starts the node has not looked at the arm: errors are for a person to clear.
            self._fail(describe_error(report.err), report.err)
            return
        calls = clearing() if self._to_clear else []
        if self._parameters.controller_settings and not self._configured:
            if report.cmdnum or report.state == State.MOVING:
                return  # these calls would block the driver until the arm rests
            calls += settings_calls(self._configuration.controller)
        self._to_clear = False
        self._configured = True
        self._stage = Stage.PREPARING
        self._calls.run(calls + enabling(), self._await_ready, self._fail)

    def _enable(self) -> None:
        self._stage = Stage.PREPARING
        self._calls.run(enabling(), self._await_ready, self._fail)

    def _await_ready(self) -> None:
        self._stage = Stage.CONFIRMING
        self._confirm_by = Deadline(_READY_TIME)
        self._error_by = Deadline(self._parameters.error_delay)

    def _confirm(self) -> None:
        report = self._report
        assert report is not None
        assert self._confirm_by is not None
        assert self._error_by is not None
        if ready(report.state, report.mode, report.mt_able, report.err):
            self._refusal, self._abnormal = '', None
            if self._pose_agrees(report):
                self._stage = Stage.READY
        # The answers of a bring-up tell nothing, and errors are reported late, old ones too.
        elif self._confirm_by.passed or (report.err and self._error_by.passed):
            what = describe_error(report.err) if report.err else 'it reports no error'
            self._fail(
                f'The controller did not become ready ({describe_state(report.state, report.mode)}'
                f', motors {report.mt_able:06b}): {what}.',
                report.err,
            )

    def _pose_agrees(self, report: RobotMsg) -> bool:
        """Whether our kinematics and tool frame are those of the controller."""
        ours = self._kinematics.flange_position(np.asarray(report.angle[:ARM_JOINTS], dtype=float))
        theirs = _MILLIMETRE * np.asarray(report.pose[:3], dtype=float)
        offset = float(np.linalg.norm(np.asarray(report.offset[:3], dtype=float)))
        distance = float(np.linalg.norm(ours - theirs))
        if offset == 0.0 and distance <= self._parameters.pose_tolerance:
            return True
        self._fail(
            f'The controller reports the flange {distance * 1000:.0f} mm from where our '
            f'kinematics has it, with a tool offset of {offset:.0f} mm; set the tool offset to '
            'zero, and check that the arm is an xArm6 with calibrated kinematics.'
        )
        return False

    def _supervise(self) -> None:
        """Look whether the controller still takes motion commands."""
        report = self._report
        assert report is not None
        decelerating = report.state == State.DECELERATING and not report.err
        fine = ready(report.state, report.mode, report.mt_able, report.err) or decelerating
        if fine and not self._refusal:
            self._abnormal = None
            return
        if self._abnormal is None:
            self._feed.clear()
            self._abnormal = Deadline(self._parameters.error_delay)
        # The error code reaches the topic up to 0.2 s after the state.
        if report.err or self._abnormal.passed:
            self._fail(self._explain(report), report.err)

    def _explain(self, report: RobotMsg) -> str:
        if report.err:
            return f'The controller stopped the arm. {describe_error(report.err)}.'
        if report.state == State.PAUSED:
            return (
                'The arm was paused by another program or in the vendor software; a motion '
                'command would block the driver now.'
            )
        if report.mt_able & ALL_JOINTS_ENABLED != ALL_JOINTS_ENABLED:
            return f'Motors are not enabled ({report.mt_able:06b}), without an error code.'
        if not ready(report.state, report.mode, report.mt_able, report.err):
            return (
                f'The controller left position mode ({describe_state(report.state, report.mode)})'
                f' without an error; is another program using the arm? {self._refusal}'.rstrip()
            )
        return self._refusal

    def _fail(self, message: str, code: int = 0) -> None:
        """Stop, tell the node, and wait for a person."""
        name = 'COLLISION' if controller_error(code).collision else 'CONTROLLER_ERROR'
        self._incident = Fault(name, message, code)
        self._stop(Stage.STOPPED)

    def _stop(self, stage: Stage) -> None:
        self._feed.clear()
        self._calls.drop()
        self._refusal, self._abnormal = '', None
        self._stage = stage
        self._send_stop()

    def _send_stop(self) -> None:
        if self._calls.missing():
            return
        self._stop_again = Deadline(_STOP_PERIOD)

        def unheard(message: str) -> None:
            self._incident = Fault('CONTROLLER_ERROR', f'The arm was not stopped. {message}')
            self._stage = Stage.STOPPED

        self._calls.call('set_state', {'data': SET_STOP}, lambda _: None, unheard)

    def _moves_on(self) -> bool:
        assert self._report is not None
        return self._report.state == State.MOVING and (
            self._stop_again is None or self._stop_again.passed
        )

    def _at_rest(self) -> bool:
        """Whether a stop has been carried out, so that the controller can be made ready again."""
        assert self._report is not None
        return self._report.state not in (State.MOVING, State.DECELERATING, State.READY)

    def _pump(self) -> None:
        if self._stage is not Stage.READY or self._abnormal is not None:
            return
        while (command := self._feed.next()) is not None:
            self._calls.call('set_servo_angle', _fields(command), self._answered, self._fail)

    def _answered(self, code: int) -> None:
        if code == 0:
            self._feed.taken()
            self._pump()
            return
        self._feed.clear()
        self._refusal = f'The controller refused a motion: {describe_return(code)}.'


def _fields(command: JointCommand) -> dict[str, object]:
    return {
        'angles': command.joint_positions.tolist(),
        'speed': command.speed,
        'acc': command.acceleration,
        'radius': command.radius,
        'wait': False,
    }
