# SPDX-License-Identifier: Apache-2.0
"""The simulated cell on the wire.

Publishes and takes what the arm's controller, the hand's servos and realsense2_camera would, and
offers two services to the scripted operator.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from deft_arm.nodes.arm_parameters import ROS2_CONTROL, XARM_API
from deft_core.clock import MonotonicClock
from deft_core.configuration import config_directory, nearest
from deft_core.decode import order_joints, time_from_msg
from deft_core.errors import ConfigurationError, DeviceError, InvalidInputError, SafetyError
from deft_core.grasp import HAND_JOINT_NAMES
from deft_core.nodes.emergency_stop import EmergencyStopMonitor
from deft_core.nodes.encode import SUCCESS_TO_MSG, header, image_to_msg, intrinsics_to_msg
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import COMMAND, IMAGE_PUBLISHER, STATE_PUBLISHER
from deft_core.nodes.runner import run_node
from deft_description.models import ARM_JOINT_NAMES
from deft_hand_driver.description import load_hand_description
from deft_hand_driver.simulated_hand import HandMounting
from deft_msgs.srv import EvaluateScene, ResetScene
from deft_perception.calibration.board import load_board
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import HAND, load_simulation_settings
from deft_sim.hand_motors import BusMotors
from deft_sim.nodes.xarm_world import XArmWorld, make_box
from deft_sim.tasks import simulated_task
from dynamixel_simulator.console import obey
from dynamixel_simulator.server import BusServer

_TICK: Final = 0.005  # [s] of real time between two looks at the clock
_LONGEST_STEP: Final = 0.1  # [s] of simulated time
_STATE_PERIOD: Final = 0.02  # [s] of simulated time: /clock, joint and motor states at 50 Hz
_SWITCH_INTERVAL: Final = 0.0005  # [s] after which a thread lets the others have the interpreter
_CAMERA: Final = '/camera/camera'


@dataclass(frozen=True)
class SimulationParameters:
    """Parameters of the node `simulation`."""

    real_time_factor: float = field(
        default=2.0,
        metadata={'minimum': 0.01, 'maximum': 50.0, 'doc': 'simulated seconds per second'},
    )
    camera_rate: float = field(
        default=5.0,
        metadata={'minimum': 0.1, 'maximum': 60.0, 'unit': 'Hz', 'doc': 'of simulated time'},
    )
    task: str = field(
        default='pick_cup',
        metadata={'doc': 'whose scene is there until the first reset; a module of deft_sim/tasks'},
    )
    calibration_board: str = field(
        default='', metadata={'doc': 'file in config/boards, on the flange; empty: none'}
    )
    hand_port: str = field(
        default='',
        metadata={
            'doc': 'link to make to the port of the simulated servos of the hand; empty: none'
        },
    )
    hand_seed: int = field(
        default=-1,
        metadata={
            'minimum': -1,
            'maximum': 2**31,
            'doc': 'of the errors of an assembled hand; -1: a hand exactly as in its file',
        },
    )
    arm_interface: str = field(
        default=XARM_API,
        metadata={
            'doc': f'{XARM_API}: the driver of xarm_ros2; {ROS2_CONTROL}: a joint trajectory '
            'controller'
        },
    )
    xarm_report_type: str = field(
        default='dev', metadata={'doc': 'of that driver: normal and rich 5 Hz, dev 100 Hz'}
    )

    def __post_init__(self) -> None:
        """Refuse interfaces that do not exist."""
        known = (ROS2_CONTROL, XARM_API)
        if self.arm_interface not in known:
            raise ConfigurationError(
                f'arm_interface is {self.arm_interface!r}; {nearest(self.arm_interface, known)}'
            )


class Pacer:
    """Keeps simulated time in step with real time.

    A machine that is too slow for the wanted factor runs slower; it never makes up for more than
    `longest_step`, so that one slow picture is not followed by a burst.
    """

    def __init__(
        self, real_time_factor: float, longest_step: float, clock: MonotonicClock
    ) -> None:
        """Start now."""
        self._factor = real_time_factor
        self._longest_step = longest_step
        self._clock = clock
        self._last = clock()

    def due(self, step: float) -> int:
        """How many steps of simulated time [s] to make now."""
        now = self._clock()
        elapsed = (now - self._last) * self._factor
        if elapsed > self._longest_step:
            self._last = now - self._longest_step / self._factor
            elapsed = self._longest_step
        steps = int(elapsed / step)
        self._last += steps * step / self._factor
        return steps


class SimulationNode(Node):
    """Owns the simulated cell; physics, rendering and messages share one thread."""

    def __init__(self, **options: Any) -> None:
        """Build the world and the interfaces; options are those of `rclpy.node.Node`."""
        super().__init__('simulation', **options)
        parameters = declare_parameters(self, SimulationParameters)
        settings = load_simulation_settings(config_directory())
        description = load_hand_description(HAND)
        motors = BusMotors(description)
        mounting = None
        if parameters.hand_seed >= 0:
            rng = np.random.default_rng(parameters.hand_seed)
            mounting = HandMounting.draw(description, settings.cell.hand_mounting, rng)
        board = parameters.calibration_board
        box = make_box() if parameters.arm_interface == XARM_API else None
        self._cell = SimulatedCell(
            settings,
            simulated_task(parameters.task),
            motors=motors,
            board=load_board(board, config_directory()) if board else None,
            arm=box,
            mounting=mounting,
        )
        self._cell.capture()  # fails here, with the remedy, rather than in the first callback
        self._steps_per_state = round(_STATE_PERIOD / self._cell.setpoint_period)
        self._camera_period = 1.0 / parameters.camera_rate
        self._next_picture = 0.0
        self._steps = 0
        self._breakdown = ''  # that was logged
        self._hand_server: BusServer | None = None
        if parameters.hand_port:
            # Packets are answered while physics or the renderer has this thread.
            sys.setswitchinterval(_SWITCH_INTERVAL)
            self._hand_server = motors.serve(Path(parameters.hand_port))
            self.create_subscription(String, '/simulation/hand_bus', self._on_hand_bus, COMMAND)
        self._create_publishers()
        self._xarm: XArmWorld | None = None
        if box is not None:
            self._xarm = XArmWorld(
                self, box, parameters.xarm_report_type, parameters.real_time_factor
            )
        else:
            self._arm_publisher = self.create_publisher(
                JointState, '/joint_states', STATE_PUBLISHER
            )
            self.create_subscription(
                JointTrajectory, '/xarm6_traj_controller/joint_trajectory', self._on_arm, COMMAND
            )
            self._emergency_stop = EmergencyStopMonitor(self, self._on_stop)
        self.create_service(ResetScene, '/simulation/reset_scene', self._on_reset)
        self.create_service(EvaluateScene, '/simulation/evaluate_scene', self._on_evaluate)
        self._pacer = Pacer(parameters.real_time_factor, _LONGEST_STEP, time.monotonic)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TICK, self._tick, clock=steady)

    def close(self) -> None:
        """Free the renderer and take the port of the hand away."""
        self._cell.close()
        if self._xarm is not None:
            self._xarm.close()
        if self._hand_server is not None:
            self._hand_server.stop()

    def _create_publishers(self) -> None:
        self._clock_publisher = self.create_publisher(ClockMsg, '/clock', STATE_PUBLISHER)
        self._observed_publisher = self.create_publisher(
            JointState, '/hand/observed_joint_states', STATE_PUBLISHER
        )
        self._image_publishers = {
            stream: (
                self.create_publisher(Image, f'{_CAMERA}/{stream}/image_raw', IMAGE_PUBLISHER),
                self.create_publisher(
                    CameraInfo, f'{_CAMERA}/{stream}/camera_info', IMAGE_PUBLISHER
                ),
            )
            for stream in ('color', 'aligned_depth_to_color')
        }

    def _tick(self) -> None:
        if self._hand_server is not None and not self._hand_server.running:
            raise DeviceError('The simulated servos of the hand stopped answering; see the log.')
        for _ in range(self._pacer.due(self._cell.setpoint_period)):
            self._cell.advance(self._cell.setpoint_period)
            self._steps += 1
            if self._cell.breakdown != self._breakdown:
                self._breakdown = self._cell.breakdown
                if self._breakdown:
                    self.get_logger().error(f'{self._breakdown}; the episode counts for nothing')
            if self._xarm is not None:
                self._xarm.publish(self._cell.time, self._cell.arm_state())
            if self._steps % self._steps_per_state == 0:
                self._publish_states()
            if self._cell.time >= self._next_picture:
                self._next_picture = self._cell.time + self._camera_period
                self._publish_pictures()

    def _publish_states(self) -> None:
        stamp = self._cell.time
        clock = ClockMsg()
        clock.clock = Time(sec=int(stamp), nanosec=int((stamp % 1.0) * 1e9))
        self._clock_publisher.publish(clock)
        if self._xarm is None:
            arm = self._cell.arm_state()
            self._arm_publisher.publish(
                JointState(
                    header=header(stamp, ''),
                    name=list(ARM_JOINT_NAMES),
                    position=arm.positions.tolist(),
                    velocity=arm.velocities.tolist(),
                    effort=arm.efforts.tolist(),
                )
            )
        if self._observed_publisher.get_subscription_count() > 0:
            joints = self._cell.observed_hand_joints()
            self._observed_publisher.publish(
                JointState(
                    header=header(stamp, ''), name=list(HAND_JOINT_NAMES), position=joints.tolist()
                )
            )

    def _publish_pictures(self) -> None:
        watched = any(
            publisher.get_subscription_count() > 0
            for pair in self._image_publishers.values()
            for publisher in pair
        )
        if not watched:
            return
        frame = self._cell.capture()
        millimetres = np.nan_to_num(np.rint(frame.depth * 1000.0), nan=0.0).astype(np.uint16)
        pictures = {
            'color': (frame.color, 'rgb8'),
            'aligned_depth_to_color': (millimetres, '16UC1'),
        }
        info = intrinsics_to_msg(frame.intrinsics, frame.stamp, frame.frame_id)
        for stream, (pixels, encoding) in pictures.items():
            images, infos = self._image_publishers[stream]
            images.publish(image_to_msg(pixels, encoding, frame.stamp, frame.frame_id))
            infos.publish(info)

    def _on_arm(self, message: JointTrajectory) -> None:
        try:
            positions = [
                order_joints(message.joint_names, point.positions, ARM_JOINT_NAMES)
                for point in message.points
            ]
            if not positions:  # the controller's convention: an empty trajectory stops
                self._cell.hold_arm()
                return
            times = [
                point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
                for point in message.points
            ]
            start = time_from_msg(message.header.stamp)
            taken = self._cell.follow_arm(times, np.array(positions), start or None)
        except InvalidInputError as error:
            self.get_logger().error(f'Refused a joint trajectory: {error}')
            return
        if not taken:
            self.get_logger().warning(
                'Refused a joint trajectory: the arm is stopped by the emergency stop or by a '
                'collision and the trajectory does not start where the arm is.'
            )

    def _on_hand_bus(self, message: String) -> None:
        """A fault of the servos, in the words of their console."""
        assert self._hand_server is not None
        reply = obey(self._hand_server, message.data)
        self.get_logger().info(f'hand bus, {message.data!r}: {reply}')

    def _on_stop(self) -> None:
        self._cell.set_emergency_stop(bool(self._emergency_stop.problem()))

    def _on_reset(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        try:
            task = simulated_task(request.task)
            self._cell.reset_scene(request.object_name, request.scene_seed, task)
        except (ConfigurationError, InvalidInputError) as error:
            response.error_code = ResetScene.Request.UNKNOWN_OBJECT
            response.error_message = str(error)
        except SafetyError as error:
            response.error_code = ResetScene.Request.ROBOT_IN_THE_WAY
            response.error_message = str(error)
        return response

    def _on_evaluate(
        self, _: EvaluateScene.Request, response: EvaluateScene.Response
    ) -> EvaluateScene.Response:
        evaluation = self._cell.evaluate()
        response.score = evaluation.score
        response.success = SUCCESS_TO_MSG[evaluation.success]
        response.explanation = evaluation.explanation
        return response


def main() -> int:
    """Run the node."""
    return run_node(SimulationNode, 'simulation')
