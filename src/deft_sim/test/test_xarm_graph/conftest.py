# SPDX-License-Identifier: Apache-2.0
"""The arm node on the simulated driver of xarm_ros2, alone and under a session.

The arm follows its setpoints at once, so that no physics is needed.
"""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from deft_affordance.wrist_poses import SIDE_GRASP
from deft_arm.nodes.arm_node import ArmNode
from deft_arm.xarm.codes import State
from deft_bag.nodes.stream_recorder import StreamRecorder
from deft_cem.nodes.session_node import SessionNode
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore
from deft_core.grasp import GraspParameters, GraspPrior
from deft_core.nodes.encode import (
    grasp_to_msg,
    image_to_msg,
    observation_to_msg,
    prior_to_msg,
    time_to_msg,
    trajectory_to_msg,
)
from deft_core.nodes.qos import IMAGE_PUBLISHER, LATCHED, STATE, STATE_PUBLISHER
from deft_core.observation import ObjectObservation
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import WristTrajectory
from deft_msgs.action import ExecuteGrasp, ReturnHome, RunSession
from deft_msgs.msg import ArmState, EmergencyStop, HandCommand, HandState, SessionStatus
from deft_msgs.srv import (
    ControlSession,
    EvaluateScene,
    PredictGrasp,
    ResetScene,
    SegmentObject,
)
from deft_sim.nodes.scripted_operator import ScriptedOperator
from deft_sim.nodes.xarm_driver import SimulatedXArmDriver
from deft_sim.nodes.xarm_world import driver_services, make_box
from deft_sim.world import JointSample

TICK = 0.005  # [s] of real time
PERIOD = 0.01  # [s] of simulated time per step of the box
STEPS = 8  # of the box in a tick: sixteen times real time
OPEN = [0.0] * 16
CLOSED = [0.0, 0.3, 0.8, 0.75] * 3 + [0.0, 1.0, 0.9, 0.81]
COLOR = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def still(joints):
    """A measurement at rest."""
    return JointSample(joints, np.zeros(6), np.zeros(6))


def cup_grasp() -> GraspParameters:
    position = np.array([0.55, 0.0, 0.07]) + 0.013 * SIDE_GRASP[:, 0]
    return GraspParameters(position, euler_from_matrix(SIDE_GRASP), CLOSED)


class Robot:
    """Box, driver, hand, clock, clients; the arm node beside them."""

    closed = CLOSED
    steps = STEPS
    period = PERIOD

    def __init__(self, graph, switches=None, report_type='dev', box=None):
        self.graph = graph
        self.switches = driver_services() if switches is None else switches
        self.report_type = report_type
        self.box = make_box() if box is None else box
        self.now = 10.0
        self.hand_state = HandState.ENABLED
        self.driver = self.new_driver()
        self.blocked = False  # whether the arm is held fast, without the box noticing
        self.measured = self.box.setpoint()
        self.path, self.most_waiting = [], 0
        peer = self.peer = graph.make('peer')
        self.clock = peer.create_publisher(Clock, '/clock', STATE_PUBLISHER)
        self.hand = peer.create_publisher(HandState, '/hand/state', STATE_PUBLISHER)
        self.stop = peer.create_publisher(EmergencyStop, '/emergency_stop', LATCHED)
        self.states, self.feedback, self.hand_commands = [], [], []
        peer.create_subscription(ArmState, '/arm/state', self.states.append, STATE)
        peer.create_subscription(HandCommand, '/hand/command', self.hand_commands.append, 1)
        self.grasp = ActionClient(peer, ExecuteGrasp, '/arm/execute_grasp')
        self.home = ActionClient(peer, ReturnHome, '/arm/return_home')
        self.clear = peer.create_client(Trigger, '/arm/clear_fault')
        peer.create_timer(TICK, self.tick)

    def new_driver(self):
        return SimulatedXArmDriver(self.box, self.graph.context, self.switches, self.report_type)

    def start(self, **parameters):
        values = {'use_sim_time': True, 'arm_interface': 'xarm_api', **parameters}
        self.gets_settings = values.get('controller_settings', True)
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.arm = ArmNode(context=self.graph.context, parameter_overrides=overrides)
        self.graph.add(self.arm)
        self.graph.until(lambda: self.states and self.hand.get_subscription_count() > 0)
        self.graph.until(self.grasp.server_is_ready)
        self.graph.until(self.home.server_is_ready)
        return self

    def tick(self):
        self.most_waiting = max(self.most_waiting, self.box.report().waiting)
        for _ in range(self.steps):
            self.now += PERIOD
            setpoint = self.box.step(PERIOD, self.measured)
            if not self.blocked:
                self.measured = setpoint
            self.path.append(self.measured.copy())
        self.clock.publish(Clock(clock=time_to_msg(self.now)))
        self.driver.publish(self.now, still(self.measured))
        self.hand.publish(HandState(state=self.hand_state))

    def press(self, pressed):
        self.stop.publish(EmergencyStop(pressed=pressed, source='panel', reason='drill'))

    def send(self, client, goal):
        self.feedback.clear()
        future = client.send_goal_async(
            goal, feedback_callback=lambda m: self.feedback.append(m.feedback)
        )
        self.graph.until(future.done)
        assert future.result().accepted
        return future.result(), future.result().get_result_async()

    def result(self, future):
        self.graph.until(future.done)
        return future.result().result

    def run(self, client, goal):
        return self.result(self.send(client, goal)[1])

    def until_phase(self, phase, progress=0.0):
        self.graph.until(
            lambda: (
                self.feedback
                and self.feedback[-1].phase == phase
                and self.feedback[-1].progress >= progress
            )
        )

    def until_state(self, state):
        self.graph.until(lambda: self.states[-1].state == state)

    def meddle(self, kind, name, **fields):
        """Call the driver as another program would; the future of its answer."""
        client = self.peer.create_client(kind, f'/xarm/{name}')
        self.graph.until(client.service_is_ready)
        return client.call_async(kind.Request(**fields))

    def clear_fault(self):
        return self.graph.call(self.clear, Trigger.Request())

    def until_controller_is_ready(self):
        """Wait for the end of a bring-up, in which the fence is the last setting."""
        self.graph.until(
            lambda: (
                self.box.report().state == State.READY
                and (self.box.fence is not None or not self.gets_settings)
            )
        )

    def clear_until_idle(self):
        """What a person does: look, clear, and clear again where something came up meanwhile."""
        self.graph.until(lambda: self.states[-1].state == ArmState.IDLE or not self.clear_fault())

    def rests(self):
        """Whether the arm stays where it is for half a simulated second, after 0.2 s to brake."""
        braked = self.now + 0.2
        self.graph.until(lambda: self.now > braked)
        before, end = self.measured.copy(), self.now + 0.5
        self.graph.until(lambda: self.now > end)
        return bool(np.array_equal(before, self.measured))

    def restart_driver(self):
        self.driver.close()
        self.driver = self.new_driver()

    def close(self):
        self.driver.close()

    @staticmethod
    def lift(step=0.004, count=40):
        translations = np.zeros((count, 3))
        translations[:, 2] = step
        return WristTrajectory(translations, np.zeros((count, 3)), 10.0, 'test')

    def grasp_goal(self, trajectory=None):
        return ExecuteGrasp.Goal(
            episode_id='test',
            grasp=grasp_to_msg(cup_grasp(), 0.0),
            trajectory=trajectory_to_msg(self.lift() if trajectory is None else trajectory, 0.0),
            pregrasp_distance=0.1,
            pregrasp_direction=[0.7071, 0.0, 0.7071],
            open_hand=OPEN,
        )

    @staticmethod
    def home_goal():
        return ReturnHome.Goal(release=True, open_hand=OPEN)


@pytest.fixture
def make_robot(make_graph):
    """Robots on a graph of their own."""
    made = []

    def make(**options):
        made.append(Robot(make_graph(), **options))
        return made[-1]

    yield make
    for robot in made:
        robot.graph.close()
        robot.close()


@pytest.fixture
def robot(make_robot):
    return make_robot()


@pytest.fixture
def ready(robot):
    robot.start()
    robot.until_state(ArmState.IDLE)
    return robot


class OperatorWhoLooksAway(ScriptedOperator):
    """Lays out scenes and scores, and leaves the arm alone."""

    def _clear_fault(self):
        pass


class Session:
    """Session, recorder and scripted operator on a robot; what sees is made up."""

    def __init__(self, robot, run):
        self.robot, self.graph, self.run = robot, robot.graph, run
        self.statuses = []
        self.scene_resets = 0
        self.grasping, self.going_home = [], []  # feedback of the arm to the session
        peer = robot.peer
        for action, name, heard in (
            (ExecuteGrasp, 'execute_grasp', self.grasping),
            (ReturnHome, 'return_home', self.going_home),
        ):
            peer.create_subscription(
                action.Impl.FeedbackMessage,
                f'/arm/{name}/_action/feedback',
                lambda message, heard=heard: heard.append(message.feedback),
                10,
            )
        self.color = peer.create_publisher(
            Image, '/camera/camera/color/image_raw', IMAGE_PUBLISHER
        )
        peer.create_timer(0.05, self.publish_color)
        peer.create_subscription(SessionStatus, '/session/status', self.statuses.append, LATCHED)
        for kind, name, answer in (
            (SegmentObject, '/perception/segment_object', self.segment),
            (PredictGrasp, '/affordance/predict_grasp', self.predict),
            (ResetScene, '/simulation/reset_scene', self.reset_scene),
            (EvaluateScene, '/simulation/evaluate_scene', self.evaluate),
        ):
            peer.create_service(kind, name, answer)
        self.control_client = peer.create_client(ControlSession, '/session/control')
        self.client = ActionClient(peer, RunSession, '/session/run')

    def start(self, *, trials=2, clears=True):
        """Begin a session of trials; `clears`: whether somebody clears the faults of the arm."""
        topics = ['/session/status deft_msgs/msg/SessionStatus latched']
        self.add(StreamRecorder, topics=topics)
        self.operator = self.add(ScriptedOperator if clears else OperatorWhoLooksAway)
        self.session = self.add(
            SessionNode,
            autostart=False,
            # Nothing but trials: every grasp is the one of the prior, which can be reached.
            method='affordance_only',
            evaluation_trials=trials,
        )
        self.graph.until(self.client.server_is_ready)
        return self.go_on(resume=False)

    def add(self, kind, **values):
        overrides = [Parameter(n, value=v) for n, v in {'use_sim_time': True, **values}.items()]
        node = kind(context=self.graph.context, parameter_overrides=overrides)
        self.graph.add(node)
        return node

    def go_on(self, *, resume=True):
        """Begin the session, or go on with it after it halted; the future of its result."""
        goal = RunSession.Goal(task='pick_cup', run_directory=str(self.run), seed=3, resume=resume)
        sent = self.client.send_goal_async(goal)
        self.graph.until(sent.done)
        assert sent.result().accepted
        return sent.result().get_result_async()

    def result(self, future):
        self.graph.until(future.done)
        return future.result().result

    def until_state(self, state):
        self.graph.until(lambda: self.statuses and self.statuses[-1].state == state)

    def until_moving(self, phase, progress=0.0):
        """Wait until the arm is in a phase of a grasp."""

        self.grasping.clear()
        self.graph.until(
            lambda: (
                self.grasping
                and self.grasping[-1].phase == phase
                and self.grasping[-1].progress >= progress
            )
        )

    def until_going_home(self, progress):
        self.going_home.clear()
        self.graph.until(lambda: self.going_home and self.going_home[-1].progress >= progress)

    def control(self, request):
        def accepted():
            name = self.statuses[-1].episode_id
            asked = ControlSession.Request(request=request, episode_id=name)
            return self.graph.call(self.control_client, asked).accepted

        self.graph.until(accepted)

    def episodes(self):
        with SessionStore.read(self.run / STORE_FILE) as record:
            return record.episodes()

    def publish_color(self):
        self.color.publish(
            image_to_msg(COLOR, 'rgb8', self.robot.now, 'camera_color_optical_frame')
        )

    def segment(self, _, response):
        observation = ObjectObservation(
            stamp=self.robot.now,
            mask=np.ones((48, 64), dtype=bool),
            crop_box=(8, 0, 56, 48),
            points=np.random.default_rng(1).uniform(0.4, 0.5, (20, 3)),
            table_plane=np.array([0.0, 0.0, 1.0, 0.0]),
            centre=np.array([0.55, 0.0, 0.05]),
            axes=np.eye(3),
            extents=np.array([0.1, 0.08, 0.08]),
            height=0.1,
            touches_border=False,
            quality={},
            calibration_id='cell',
        )
        response.observation = observation_to_msg(observation, COLOR)
        return response

    def predict(self, request, response):
        grasp = cup_grasp()
        prior = GraspPrior(
            grasp, grasp.position, 0.01, 'geometric', 'pick_cup', 'pick up the cup', 'cell'
        )
        response.prior = prior_to_msg(prior, self.robot.now)
        return response

    def reset_scene(self, _, response):
        self.scene_resets += 1
        return response

    def evaluate(self, _, response):
        response.score, response.success = 0.8, 2
        response.explanation = 'as the test wants it'
        return response


@pytest.fixture
def make_session(make_robot, tmp_path):
    """A session on a robot whose arm node gets the given parameters."""

    def make(**parameters):
        # As the simulation has it: a goal waits for the operator, who clears faults.
        values = {'clearance_wait': 60.0, **parameters}
        robot = make_robot()
        session = Session(robot, tmp_path / 'run')
        robot.start(**values)
        robot.until_state(ArmState.IDLE)
        return session

    return make
