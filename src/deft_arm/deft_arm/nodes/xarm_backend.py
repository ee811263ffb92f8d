# SPDX-License-Identifier: Apache-2.0
"""Drives the arm through the services and topics of xarm_ros2's driver (package xarm_api)."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from rclpy.node import Node

from deft_arm.configuration import ArmConfiguration
from deft_arm.nodes.arm_parameters import ArmParameters
from deft_arm.nodes.messages import Fault, Measurement
from deft_arm.nodes.xarm_calls import TO_BE_SWITCHED_ON, XArmCalls
from deft_arm.planning.kinematics import ArmKinematics
from deft_arm.planning.paths import ARM_JOINTS, JointPath
from deft_arm.xarm.codes import (
    ALL_JOINTS_ENABLED,
    COLLISIONS,
    OK,
    SET_STOP,
    Mode,
    State,
    describe_error,
    describe_return,
    describe_state,
)
from deft_arm.xarm.commands import (
    CLEAN_ERROR,
    CLEAN_WARNING,
    ENABLING,
    Call,
    motion_calls,
    settings_calls,
)
from deft_core.errors import InvalidInputError
from deft_core.nodes.qos import STATE
from deft_core.validation import finite_array
from xarm_msgs.msg import RobotMsg

_READY_TIME: Final = 3.0  # [s] until a report shows what the calls of a bring-up have done
_STOP_PERIOD: Final = 0.5  # [s] between stop commands to an arm that goes on
_MILLIMETRE: Final = 0.001


class Stage(enum.Enum):
    """How far the controller is from taking motion commands; the value says what it waits for."""

    ABSENT = 'the driver of the arm'
    PREPARING = 'the controller to take its settings'
    CONFIRMING = 'the controller to report that it is ready'
    READY = 'nothing'
    DISTURBED = 'the controller to say why it does not take commands'
    STOPPING = 'the arm to come to rest'
    STOPPED = 'a person to clear the fault'


class XArmBackend:
    """Feeds planned paths to the command queue of the controller, a few commands ahead.

    What the node asks of it is described in `Ros2ControlBackend`.

    Only calls that do not wait: the driver has one thread, and a waiting call would block the
    stop. A return code of 0 proves little (some are swallowed by the driver), so that motion
    counts as done when pose, state and command counter say so.
    """

    own_pace = True

    def __init__(
        self,
        node: Node,
        parameters: ArmParameters,
        configuration: ArmConfiguration,
        kinematics: ArmKinematics,
        failed: Callable[[Fault], None],
    ) -> None:
        """Create clients and subscription on `node`.

        `failed` is called when the controller was stopped for a reason of its own.
        """
        self._node = node
        self._parameters = parameters
        self._configuration = configuration
        self._kinematics = kinematics
        self._failed = failed
        self._calls = XArmCalls(
            node,
            parameters.xarm_namespace,
            parameters.call_timeout,
            with_settings=parameters.controller_settings,
        )
        self._to_send: list[Call] = []
        self._ahead = 0  # motions on their way to the controller and waiting in it
        self._enter(Stage.ABSENT)
        self._report: RobotMsg | None = None
        self._refusal = ''  # what a call was answered that was not taken
        self._to_clear = False
        self._configured = False
        self.measurement: Measurement | None = None
        self.source = f'{parameters.xarm_namespace}/robot_states'
        node.create_subscription(RobotMsg, self.source, self._on_report, STATE)

    @property
    def ready(self) -> bool:
        """Whether a path can be started now."""
        return self._stage in (Stage.READY, Stage.DISTURBED)

    @property
    def stopped(self) -> bool:
        """Whether it takes nothing before `recover`."""
        return self._stage is Stage.STOPPED

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
            and not self._to_send
            and self._ahead == 0
            and self._report.state == State.READY
        )

    @property
    def error_code(self) -> int:
        """Error code of the controller."""
        return 0 if self._report is None else int(self._report.err)

    def start(self, path: JointPath) -> None:
        """Begin a path; a path at rest sends nothing."""
        self._to_send = motion_calls(
            path, self._parameters.acceleration, self._kinematics.flange_position
        )
        self._pump()

    def stop(self, path: JointPath | None, *, for_good: bool) -> None:  # noqa: ARG002 (it brakes by itself)
        """Stop the controller; unless for good, make it ready again as soon as the arm rests."""
        self._to_send = []
        self._calls.drop()
        self._enter(Stage.STOPPED if for_good else Stage.STOPPING)
        self._send_stop()

    def recover(self) -> None:
        """Clear errors, enable the motors, set the mode and state 0."""
        if self.stopped:
            self._to_clear = True
            self._configured = False
            self._enter(Stage.ABSENT)
            self.cycle()

    def cycle(self) -> None:
        """Go on with bring-up, feed or supervision."""
        self._calls.look()
        missing = bool(self._calls.missing())
        if missing:
            self._configured = False  # another driver, perhaps another controller
        if missing or not self._fresh():
            if self.ready or self._stage is Stage.STOPPING:  # what it does now is not known
                self._to_send = []
                self._enter(Stage.ABSENT)
            return
        report = self._report
        assert report is not None
        if self._stage is Stage.ABSENT:
            self._prepare(report)
        elif self._stage is Stage.CONFIRMING:
            self._confirm(report)
        elif self.ready:
            self._supervise(report)
            self._pump()
        elif self._stage is Stage.STOPPING and _rests(report):
            self._enable([])
        elif self.stopped and report.state == State.MOVING and self._for > _STOP_PERIOD:
            self._enter(Stage.STOPPED)
            self._send_stop()  # the driver was away when the arm was to stop

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        self._entered = time.monotonic()

    @property
    def _for(self) -> float:
        """How long it has been in its stage. [s]."""
        return time.monotonic() - self._entered

    def _fresh(self) -> bool:
        measured = self.measurement
        return (
            measured is not None
            and time.monotonic() - measured.received < self._parameters.state_timeout
        )

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
        self._ahead = int(message.cmdnum) + self._calls.under_way
        if self.ready:
            self._supervise(message)
            self._pump()

    def _prepare(self, report: RobotMsg) -> None:
        if report.err and not self._to_clear:
            # Whoever starts the node has not looked at the arm: errors are for a person to clear.
            self._fail(describe_error(report.err), report.err)
            return
        calls = [CLEAN_ERROR, CLEAN_WARNING] if self._to_clear else [CLEAN_WARNING]
        if self._parameters.controller_settings and not self._configured:
            if report.cmdnum or report.state == State.MOVING:
                return  # these calls would block the driver until the arm rests
            calls += settings_calls(self._configuration.controller)
        self._to_clear = False
        self._configured = True
        self._enable(calls)

    def _enable(self, before: list[Call]) -> None:
        def made(refusal: str) -> None:
            self._refusal = refusal
            self._enter(Stage.CONFIRMING)

        self._enter(Stage.PREPARING)
        self._calls.run([*before, *ENABLING], made, self._fail)

    def _confirm(self, report: RobotMsg) -> None:
        if _fine(report) and not self._refusal:
            if self._pose_agrees(report):
                self._enter(Stage.READY)
        # Most answers of a bring-up tell nothing, and errors are reported late, old ones too.
        elif self._for > (
            self._parameters.error_delay if report.err or self._refusal else _READY_TIME
        ):
            what = self._refusal or 'it reports no error'
            if report.err:
                what = describe_error(report.err)
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

    def _supervise(self, report: RobotMsg) -> None:
        """Look whether the controller still takes motion commands."""
        fine = _fine(report) or (report.state == State.DECELERATING and not report.err)
        if self._stage is Stage.READY and not fine:
            self._disturb('')
        if self._stage is not Stage.DISTURBED:
            return
        if fine and not self._refusal:
            self._enter(Stage.READY)
        # The error code reaches the topic up to 0.2 s after the state.
        elif report.err or self._for > self._parameters.error_delay:
            self._fail(self._explain(report), report.err)

    def _disturb(self, refusal: str) -> None:
        """Send nothing more until it is known why commands are not taken."""
        self._to_send = []
        self._refusal = refusal
        if self._stage is Stage.READY:
            self._enter(Stage.DISTURBED)

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
        if not _fine(report):
            return (
                f'The controller left position mode ({describe_state(report.state, report.mode)})'
                f' without an error; is another program using the arm? {self._refusal}'.rstrip()
            )
        return self._refusal

    def _fail(self, message: str, code: int = 0) -> None:
        """Stop, tell the node, and wait for a person."""
        self.stop(None, for_good=True)
        name = 'COLLISION' if code in COLLISIONS else 'CONTROLLER_ERROR'
        self._failed(Fault(name, message, code))

    def _send_stop(self) -> None:
        if self._calls.missing():
            return

        def unheard(message: str) -> None:
            self._enter(Stage.STOPPED)
            self._failed(Fault('CONTROLLER_ERROR', f'The arm was not stopped. {message}'))

        self._calls.call(Call('set_state', {'data': SET_STOP}), lambda _: None, unheard)

    def _pump(self) -> None:
        while (
            self._stage is Stage.READY
            and self._to_send
            and self._ahead < self._parameters.queue_depth
        ):
            self._ahead += 1
            self._calls.call(self._to_send.pop(0), self._answered, self._fail)

    def _answered(self, code: int) -> None:
        if code != OK:
            self._disturb(f'The controller refused a motion: {describe_return(code)}.')


def _fine(report: RobotMsg) -> bool:
    """Whether the arm takes motion commands."""
    return (
        report.state in (State.MOVING, State.READY)
        and report.mode == Mode.POSITION
        and report.mt_able & ALL_JOINTS_ENABLED == ALL_JOINTS_ENABLED
        and report.err == 0
    )


def _rests(report: RobotMsg) -> bool:
    """Whether a stop has been carried out, so that the controller can be made ready again."""
    return report.state not in (State.MOVING, State.DECELERATING, State.READY)
