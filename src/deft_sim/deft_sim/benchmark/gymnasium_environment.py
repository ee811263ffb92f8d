# SPDX-License-Identifier: Apache-2.0
"""A task as a Gymnasium environment: one step is one episode on the table."""

from __future__ import annotations

from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Dict, Space

from deft_core.camera import RgbdFrame
from deft_core.configuration import nearest
from deft_core.episode import Outcome
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.grasp import GRASP_DIMENSION, HAND_JOINT_NAMES, GraspParameters, GraspResidual
from deft_core.validation import FloatArray
from deft_sim.benchmark.episodes import SEEDS, TRAIN, Scene, TaskEpisodes

Observation = dict[str, npt.NDArray[Any]]

_JOINTS: Final = len(HAND_JOINT_NAMES)
# Largest residual: 5, 5 and 10 times the spread that practice begins with. [m | rad | rad].
RESIDUAL_REACH: Final = np.repeat([0.1, 1.0, 0.5], [3, 3, _JOINTS])
# Whole grasps in the base frame; joints as a task file may have them. [m | rad | rad].
GRASP_LOWER: Final = np.repeat([-2.0, -2.0 * np.pi, -1.0], [3, 3, _JOINTS])
GRASP_UPPER: Final = np.repeat([2.0, 2.0 * np.pi, 2.0], [3, 3, _JOINTS])


class GraspEnvironment(gymnasium.Env[Observation, FloatArray]):
    """Decide 22 numbers from the first picture and the prior; the rest of the episode follows.

    Every `step` ends the episode: `terminated`, or `truncated` where the physics broke down and
    the result says nothing about the action. The reward is what a person beside the table would
    say: 0 to 1, coarse and noisy. Where nothing was found to grasp, the prior is zero, and a
    residual moves nothing and earns nothing.

    Args:
        task: File in `config/tasks` that has a simulation.
        object_set: Objects that are drawn, 'train' or 'test' (held out).
        action: 'residual' is added to the prior; 'grasp' is the whole grasp, base frame.
        depth: Whether observations hold the depth image.
        prior: Name of the grasp predictor.
        render_mode: 'rgb_array' or None.

    Attributes:
        action_space: Grasp centre [m], Euler angles of the wrist [rad], hand joints [rad], as
            `deft_core.grasp` orders them. Shape (22,).
        observation_space: `image` (height, width, 3), RGB: before the action, and as the episode
            ended; `prior` (22,); with `depth` also `depth` (height, width), 0 where it is
            missing. [m].

    Raises:
        ConfigurationError: Unknown task, object set, action, predictor or render mode.
    """

    metadata: dict[str, Any] = {'render_modes': ['rgb_array'], 'render_fps': 10}  # noqa: RUF012 (as the base class)

    def __init__(
        self,
        task: str,
        object_set: str = TRAIN,
        action: str = 'residual',
        *,
        depth: bool = False,
        prior: str = 'geometric',
        render_mode: str | None = None,
    ) -> None:
        """Build the cell; the first reset opens the renderer."""
        self._episodes = TaskEpisodes(task, prior)
        self.task = self._episodes.task
        for what, value, known in (
            ('object set', object_set, list(self.task.object_sets)),
            ('action', action, ['residual', 'grasp']),
            ('render mode', render_mode or 'rgb_array', self.metadata['render_modes']),
        ):
            if value not in known:
                raise ConfigurationError(f'Unknown {what} {value!r}; {nearest(value, known)}')
        self.render_mode = render_mode
        self._object_set, self._whole_grasp, self._depth = object_set, action == 'grasp', depth
        camera = self._episodes.environment.settings.cell.camera
        shape = (camera.height, camera.width)
        grasp = Box(GRASP_LOWER, GRASP_UPPER, dtype=np.float64)
        spaces: dict[str, Space[Any]] = {'image': Box(0, 255, (*shape, 3), np.uint8)}
        if depth:
            spaces['depth'] = Box(0.0, camera.depth_maximum, shape, np.float32)
        self._farthest = np.float32(camera.depth_maximum)
        self.observation_space = Dict({**spaces, 'prior': grasp})
        residual = Box(-RESIDUAL_REACH, RESIDUAL_REACH, dtype=np.float64)
        self.action_space: Box = grasp if self._whole_grasp else residual
        self._scene: Scene | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Lay out a scene.

        Args:
            seed: Of the scenes and objects from now on.
            options: `scene_seed` and `object` lay out what they name instead of what is drawn.

        Raises:
            InvalidInputError: Unknown option or object, or a negative scene seed.
        """
        super().reset(seed=seed)
        wanted: dict[str, Any] = {
            'scene_seed': int(self.np_random.integers(SEEDS)),
            'object': None,
        }
        for name in options or {}:
            if name not in wanted:
                raise InvalidInputError(f'Unknown option {name!r}; {nearest(name, wanted)}')
        wanted |= options or {}
        self._scene = self._episodes.lay_out(
            wanted['scene_seed'], self._object_set, wanted['object']
        )
        return self._observation(self._scene, self._scene.frame), self._about(self._scene)

    def step(self, action: FloatArray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one episode from approach to hold.

        Raises:
            InvalidInputError: Outside the action space, or no scene is laid out.
        """
        scene = self._scene
        if scene is None:
            raise InvalidInputError('One step is one episode; reset before the next step.')
        vector = np.asarray(action, dtype=np.float64)
        space = self.action_space
        clipped = np.clip(vector, space.low, space.high) if vector.shape == space.shape else None
        # Single precision, in which most learners act, rounds some of the bounds up.
        if clipped is None or not np.allclose(vector, clipped, rtol=0.0, atol=1e-6):
            raise InvalidInputError(
                f'The action must be {GRASP_DIMENSION} numbers inside action_space, got '
                f'{np.array2string(vector, precision=3, threshold=30)}; clip it, for instance '
                'with gymnasium.wrappers.ClipAction.'
            )
        self._scene = None
        grasp = None
        if self._whole_grasp:
            grasp = GraspParameters.from_vector(clipped)
        elif scene.prior is not None:
            grasp = scene.prior.grasp + GraspResidual.from_vector(clipped)
        attempt = self._episodes.attempt(scene, grasp)
        broke_down = attempt.outcome is Outcome.FAILED
        info = self._about(scene) | {
            'success_once': attempt.success_once,
            'success_at_end': attempt.success,
            'outcome': attempt.outcome.name.lower(),
            'explanation': attempt.explanation,
        }
        last = self._episodes.environment.final_image()
        observation = self._observation(scene, last)
        return observation, attempt.score or 0.0, not broke_down, broke_down, info

    def render(self) -> npt.NDArray[np.uint8] | None:  # type: ignore[override]
        """What the camera would see now without its noise; drawing it changes no result."""
        if self.render_mode is None:
            return None
        return self._episodes.environment.cell.capture_exact().color

    def close(self) -> None:
        """Free the renderer."""
        self._episodes.close()

    def _observation(self, scene: Scene, frame: RgbdFrame) -> Observation:
        prior = np.zeros(GRASP_DIMENSION) if scene.prior is None else scene.prior.grasp.to_vector()
        observation: Observation = {'image': frame.color, 'prior': prior}
        if self._depth:
            # Noise may carry a measurement beyond the range of the camera.
            observation['depth'] = np.clip(np.nan_to_num(frame.depth), 0.0, self._farthest)
        return observation

    def _about(self, scene: Scene) -> dict[str, Any]:
        return {
            'object': scene.object_name,
            'scene_seed': scene.seed,
            'instruction': self.task.instruction,
        }
