# SPDX-License-Identifier: Apache-2.0
"""One running episode: what arm, camera, perception and affordance do for it, step by step.

Every step ends in a report to the session node: an event of the session machine, or that the
operator may act now. What the episode came to is its record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from deft_cem import __version__
from deft_cem.nodes.camera import ColorCamera
from deft_cem.nodes.peers import Peers
from deft_cem.nodes.session_parameters import SessionParameters, SessionSetup
from deft_cem.session.machine import Effect, Event
from deft_core.decode import color_from_msg, prior_from_msg
from deft_core.episode import Outcome
from deft_core.nodes.encode import (
    distribution_to_msg,
    grasp_to_msg,
    header,
    image_to_msg,
    residual_to_msg,
    time_to_msg,
    trajectory_to_msg,
)
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.msg import EpisodeRecord, GraspPrior, ObjectObservation
from deft_msgs.srv import PredictGrasp, SegmentObject

# Takes an event and its reason; None says that the operator may act: the arm is home and the
# scene can be laid out, or the last image is taken and the episode can be scored.
Report = Callable[[Event | None, str], None]
# The parameters are to blame: the episode counts, with reward 0. Everything else that stops a
# motion, such as a machine that is overloaded, discards the episode.
_BLAMED: Final = {
    ExecuteGrasp.Goal.UNREACHABLE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.OUTSIDE_WORKSPACE: Outcome.UNREACHABLE,
    ExecuteGrasp.Goal.COLLISION: Outcome.COLLISION,
}
_UNSEEN: Final = {SegmentObject.Request.NO_OBJECT, SegmentObject.Request.DEPTH_MISSING}
# The arm may get home when it tries again: nothing was in its way.
_LATE: Final = {ReturnHome.Goal.MOTION_TIMEOUT, ReturnHome.Goal.STALE_STATE}


class RunningEpisode:
    """Carries out the effects of the session machine that make up one episode."""

    def __init__(
        self,
        node: Node,
        parameters: SessionParameters,
        peers: Peers,
        camera: ColorCamera,
        setup: SessionSetup,
        report: Report,
    ) -> None:
        """Begin an episode; nothing is done yet."""
        self._node = node
        self._parameters = parameters
        self._peers, self._camera = peers, camera
        self._setup = setup
        self._report = report
        self._observation: ObjectObservation | None = None
        self._prior: GraspPrior | None = None
        self._scene = ('', -1)  # object on the table, seed of the scene
        # What is known of it so far; the score comes last.
        self.record = EpisodeRecord(reward=float('nan'))
        self._steps: dict[Effect, Callable[[], None]] = {
            Effect.PREPARE_SCENE: self._prepare_scene,
            Effect.SEGMENT: self._segment,
            Effect.PREDICT: self._predict,
            Effect.SAMPLE: self._sample,
            Effect.EXECUTE: self._execute,
            Effect.TAKE_LAST_IMAGE: self._take_last_image,
        }

    def perform(self, effect: Effect) -> None:
        """Begin a step."""
        self._steps[effect]()

    def _now(self) -> float:
        return float(self._node.get_clock().now().nanoseconds * 1e-9)

    def _prepare_scene(self) -> None:
        def arrived(result: ReturnHome.Result) -> None:
            if result.error_code == ReturnHome.Goal.NONE:
                self._report(None, '')
            elif result.error_code == ReturnHome.Goal.EMERGENCY_STOP:
                self._report(Event.EMERGENCY_STOP, result.error_message)
            elif result.error_code in _LATE:
                self._report(Event.NOT_HOME, result.error_message)
            else:
                self._report(Event.FAULT, f'the arm did not return home: {result.error_message}')

        goal = ReturnHome.Goal(release=True, open_hand=list(self._setup.task.open_hand))
        self._move('/arm/return_home', goal, arrived, Event.NOT_HOME)

    def _move(self, name: str, goal: Any, on_result: Callable[[Any], None], loss: Event) -> None:
        self._peers.act(
            name,
            goal,
            self._parameters.motion_timeout,
            on_result=on_result,
            on_reject=lambda: self._report(
                Event.FAULT, f'{name} did not take the goal; is another program using the arm?'
            ),
            on_loss=lambda: self._report(
                loss,
                f'{name} does not know its goal: it was lost, or the arm node was started again',
            ),
        )

    def begin(self, object_name: str, scene_seed: int) -> None:
        """The scene is laid out."""
        self._scene = (object_name, scene_seed)
        self.record.started = time_to_msg(self._now())

    def _segment(self) -> None:
        def answered(response: SegmentObject.Response) -> None:
            if response.error_code == SegmentObject.Request.NONE:
                self._observation = response.observation
                self._report(Event.OBSERVED, '')
            elif response.error_code in _UNSEEN:
                self._report(Event.NO_OBJECT, response.error_message)
            else:
                self._report(Event.FAULT, f'the scene was not observed: {response.error_message}')

        request = SegmentObject.Request(
            task=self._setup.task.name,
            instruction=self._setup.task.instruction,
            not_before=time_to_msg(self._now()),
        )
        timeout = self._parameters.service_timeout
        self._peers.call('/perception/segment_object', request, timeout, answered)

    def _predict(self) -> None:
        def answered(response: PredictGrasp.Response) -> None:
            if response.error_code == PredictGrasp.Request.NONE:
                self._prior = response.prior
                self._report(Event.PREDICTED, '')
            elif response.error_code == PredictGrasp.Request.NO_PROPOSAL:
                self._report(Event.NO_PROPOSAL, response.error_message)
            else:
                self._report(Event.FAULT, f'no grasp was predicted: {response.error_message}')

        request = PredictGrasp.Request(
            observation=self._observation,
            task=self._setup.task.name,
            predictor=self._setup.predictor,
            seed=self._setup.core.prediction_seed(),
        )
        timeout = self._parameters.service_timeout
        self._peers.call('/affordance/predict_grasp', request, timeout, answered)

    def _sample(self) -> None:
        assert self._observation is not None, 'sampled before observing'
        assert self._prior is not None, 'sampled before predicting'
        core, prior = self._setup.core, prior_from_msg(self._prior)
        proposal = core.propose(color_from_msg(self._observation.color), prior, *self._scene)
        executed = prior.grasp + proposal.residual
        record = self.record
        record.session_id, record.episode_id = core.session_id, proposal.episode_id
        record.index = proposal.scheduled.position
        record.phase = proposal.scheduled.phase.value
        record.task, record.object_name = self._setup.task.name, proposal.object_name
        record.scene_seed, record.sample_seed = proposal.scene_seed, core.seed
        record.prior = self._prior
        record.residual = residual_to_msg(proposal.residual)
        record.executed = grasp_to_msg(executed, self._now())
        record.distribution = distribution_to_msg(
            proposal.distribution_mean, proposal.distribution_std
        )
        record.first_image = self._observation.color
        record.calibration_id = prior.calibration_id
        record.software_version = __version__
        self._report(Event.SAMPLED, '')

    def _execute(self) -> None:
        task = self._setup.task
        goal = ExecuteGrasp.Goal(
            episode_id=self.record.episode_id,
            grasp=self.record.executed,
            trajectory=trajectory_to_msg(self._setup.trajectory, self._now()),
            pregrasp_distance=task.pregrasp.distance,
            pregrasp_direction=list(task.pregrasp.direction),
            open_hand=list(task.open_hand),
        )
        self._camera.start_video()
        self._move('/arm/execute_grasp', goal, self._executed, Event.INTERRUPTED)

    def _executed(self, result: ExecuteGrasp.Result) -> None:
        kind, record = ExecuteGrasp.Goal, self.record
        video: list[CompressedImage] = self._camera.stop_video()
        record.rollout_video = video
        record.header = header(self._now(), record.executed.header.frame_id)
        record.ended = record.header.stamp
        record.outcome_message = result.error_message
        if result.error_code == kind.EMERGENCY_STOP:
            self._report(Event.EMERGENCY_STOP, result.error_message)
        elif result.error_code == kind.INVALID_GOAL:
            self._report(
                Event.FAULT, f'the arm refused the grasp as invalid: {result.error_message}'
            )
        elif result.error_code == kind.NONE or result.error_code in _BLAMED:
            outcome = _BLAMED.get(result.error_code, Outcome.COMPLETED)
            record.outcome = outcome.value
            tried = outcome is Outcome.COMPLETED
            self._report(Event.EXECUTED if tried else Event.NOT_EXECUTABLE, '')
        else:
            self._report(Event.INTERRUPTED, result.error_message)

    def _take_last_image(self) -> None:
        """Commit how the motion ended and take the picture of what came of it."""

        def taken(image: Image) -> None:
            if image.encoding != 'rgb8':
                color = color_from_msg(image)
                image = image_to_msg(color, 'rgb8', self._now(), image.header.frame_id)
            self.record.last_image = image
            self._report(None, '')

        ended = self.record.ended.sec + self.record.ended.nanosec * 1e-9
        self._camera.take(ended, self._parameters.image_timeout, taken)
        self._setup.core.finish_motion(Outcome(self.record.outcome))
