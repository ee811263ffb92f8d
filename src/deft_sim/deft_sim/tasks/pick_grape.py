# SPDX-License-Identifier: Apache-2.0
"""Pick Grape (paper, section 4): a small bunch of grapes is picked up whole.

Every grape hangs on the stem by a joint that breaks under more than its strength; a grape that
has come off stays off.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from deft_affordance.wrist_poses import turned, wrist
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix, matrix_from_rotation_vector
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray
from deft_sim.objects.shapes import Color
from deft_sim.tasks import (
    CONTACT,
    OBJECT_BODY,
    ContactSummary,
    Demonstration,
    Judge,
    SceneEvaluation,
    SimulatedTask,
)


@dataclass(frozen=True)
class Bunch:
    """Grapes on both sides of a lying stem."""

    grapes: int
    radius: float  # of a grape [m]
    grape_mass: float  # [kg]
    strength: float  # pull under which a grape comes off [N]
    color: Color
    friction: float = 0.95  # of the skin; the cell draws a factor


BUNCHES = {
    # Train set.
    'red_grapes': Bunch(3, 0.0115, 0.0060, 1.4, (0.42, 0.08, 0.18)),
    'green_grapes': Bunch(4, 0.0110, 0.0055, 1.6, (0.56, 0.70, 0.25)),
    'black_grapes': Bunch(3, 0.0125, 0.0080, 1.3, (0.14, 0.08, 0.18), friction=0.8),
    'pink_grapes': Bunch(4, 0.0115, 0.0065, 1.5, (0.78, 0.42, 0.45)),
    # Held out.
    'small_green_grapes': Bunch(5, 0.0100, 0.0042, 1.4, (0.66, 0.76, 0.30)),
    'large_red_grapes': Bunch(3, 0.0135, 0.0100, 1.4, (0.50, 0.10, 0.14), friction=0.8),
    'wet_black_grapes': Bunch(4, 0.0115, 0.0065, 1.3, (0.10, 0.08, 0.22), friction=0.65),
}

# Where a reset puts the bunch.
LAYOUT_CENTRE = (0.48, 0.0)  # [m] base frame
LAYOUT_HALF_EXTENTS = (0.05, 0.05)  # [m]
_YAW_HALF_RANGE = 0.4  # [rad] of the stem about the base's y axis

_STEM_RADIUS = 0.002  # [m]
_STEM_MASS = 0.004  # [kg]
_STEM_COLOR = (0.36, 0.28, 0.14)
_PEDICEL = 0.002  # [m] between stem and skin
# Fingers press as hard as on a cup, and the lighter a body, the deeper they would sink in.
_STIFF = {
    **CONTACT,
    'solref': [0.005, 1.0],
    'solimp': [0.95, 0.99, 0.001, 0.5, 2.0],
    'solmix': 100.0,
}
_ROLLING = 0.0006  # [m] a grape is no ball: it comes to rest

# Criterion and score.
HELD_HEIGHT = 0.05  # [m] that the lowest grape must have
_TOUCH_SHARE = 0.10
_LIFT_SHARE = 0.30
_WHOLE_SHARE = 0.60

# The expert: a pinch from above across the stem; by a random search.
_FINGERS_ALONG = (1.128, -0.381, -0.799)
_PALM_TOWARDS = (-0.845, -0.037, -0.874)
# The grasp centre from the middle of the bunch, flange axes.
_OFFSET = (-0.025, -0.006, -0.005)  # [m]
_FINGER = (-0.034, 0.816, 1.533, 0.245)  # [rad] side, forward, PIP, DIP
_THUMB = (-0.016, 0.304, 0.895, 0.615)  # [rad]
_LIFT = 0.14  # [m] of the whole demonstration
_RATE = 10.0  # [Hz]


class PickGrape(SimulatedTask):
    """One bunch on the table; stem and grapes are what is taken hold of."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(BUNCHES)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """A stem and its grapes, each a free body, lying as they grew."""
        bunch = BUNCHES[object_name]
        stem = spec.worldbody.add_body(name=OBJECT_BODY, pos=[0.0, 0.0, bunch.radius])
        stem.add_freejoint(name=OBJECT_BODY)
        reach = np.abs(_places(bunch)[:, 1]).max() + 0.6 * bunch.radius
        stem.add_geom(
            name='object_stem',
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[0.0, -reach, 0.0, 0.0, reach + 0.012, 0.0],
            size=[_STEM_RADIUS, 0.0, 0.0],
            mass=_STEM_MASS,
            rgba=[*_STEM_COLOR, 1.0],
            group=2,
            **_STIFF,
        )
        for index, place in enumerate(_places(bunch)):
            name = f'{OBJECT_BODY}_grape_{index}'
            grape = spec.worldbody.add_body(name=name, pos=[*place, bunch.radius])
            grape.add_freejoint(name=name)
            grape.add_geom(
                name=name,
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[bunch.radius, 0.0, 0.0],
                mass=bunch.grape_mass,
                rgba=[*bunch.color, 1.0],
                group=2,
                **{**_STIFF, 'condim': 6, 'friction': [bunch.friction, 0.003, _ROLLING]},
            )
            spec.add_exclude(bodyname1=OBJECT_BODY, bodyname2=name)
            joint = spec.add_equality(name=name, type=mujoco.mjtEq.mjEQ_CONNECT)
            joint.objtype = mujoco.mjtObj.mjOBJ_BODY
            joint.name1, joint.name2 = OBJECT_BODY, name
            joint.data[:3] = [0.0, place[1], 0.0]  # where the pedicel leaves the stem
            joint.solref = [0.01, 1.0]

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """Anywhere in the area, the stem a little turned."""
        bunch = BUNCHES[object_name]
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        middle = np.asarray(LAYOUT_CENTRE) + offset
        yaw = _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        rotation = matrix_from_rotation_vector([0.0, 0.0, yaw])[:2, :2]
        turn = [np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)]
        data.joint(OBJECT_BODY).qpos = [*middle, bunch.radius, *turn]
        for index, place in enumerate(_places(bunch)):
            position = middle + rotation @ place
            data.joint(f'{OBJECT_BODY}_grape_{index}').qpos = [*position, bunch.radius, *turn]

    def tear(self, data: mujoco.MjData, object_name: str) -> None:
        """Grapes that were pulled harder than they are fixed come off."""
        equality = data.efc_type == mujoco.mjtConstraint.mjCNSTR_EQUALITY
        if not equality.any():
            return
        squares = np.bincount(
            data.efc_id[equality],
            weights=data.efc_force[equality] ** 2,
            minlength=data.model.neq,
        )
        data.eq_active[np.sqrt(squares) > BUNCHES[object_name].strength] = 0

    def judge(self) -> PickGrapeJudge:
        """See `SimulatedTask`."""
        return PickGrapeJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """A pinch from above across the stem."""
        del object_name  # the same for all
        stem = data.body(OBJECT_BODY)
        along = stem.xmat.reshape(3, 3)[:, 1]
        turn = float(np.arctan2(-along[0], along[1]))
        rotation = turned(wrist(_FINGERS_ALONG, _PALM_TOWARDS), turn)
        return GraspParameters(
            position=stem.xpos + rotation @ _OFFSET,
            wrist_rotation=euler_from_matrix(rotation),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Straight up with a smooth start and end."""
        share = np.linspace(0.0, 1.0, TRAJECTORY_STEPS + 1)
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:, 2] = np.diff(_LIFT * (3.0 * share**2 - 2.0 * share**3))
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        return Demonstration(
            'red_grapes', 0, WristTrajectory(translations, turns, _RATE, 'intended lift')
        )


class PickGrapeJudge(Judge):
    """The operator of Pick Grape.

    The criterion of the paper: all grapes are held by the hand above the table; one that falls off
    a weak stem fails the trial. Here: at the end the lowest grape is more than 5 cm high, some
    part of the hand is on the bunch, and the arm did not collide.

    The score: 0.10 for touching the bunch, 0.30 for the largest share of the grapes that were
    above 5 cm at once while it was held, 0.60 for the share that is there at the end.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._touched = False
        self._best = 0.0
        self._share = 0.0
        self._lowest = 0.0
        self._collided = False
        self._bodies: npt.NDArray[np.int64] | None = None
        self._watched = False

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        if self._bodies is None:
            names = [data.model.body(body).name for body in range(data.model.nbody)]
            grape = f'{OBJECT_BODY}_grape_'
            self._bodies = np.array([i for i, name in enumerate(names) if name.startswith(grape)])
        self.update(data.xpos[self._bodies, 2], contacts, collided=collided)

    def update(self, heights: FloatArray, contacts: ContactSummary, *, collided: bool) -> None:
        """Note one instant: height of every grape above the table (n,) [m], contacts."""
        held = bool(np.any(contacts.touching))
        self._touched = self._touched or held
        self._share = float(np.mean(heights > HELD_HEIGHT)) if held else 0.0
        self._best = max(self._best, self._share)
        self._lowest = float(heights.min())
        self._collided = self._collided or collided
        self._watched = True

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if not self._watched:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with the table')
        score = _TOUCH_SHARE * float(self._touched)
        score += _LIFT_SHARE * self._best + _WHOLE_SHARE * self._share
        success = self._share == 1.0
        if success:
            said = f'all grapes held, the lowest {100.0 * self._lowest:.0f} cm up'
        elif self._share > 0.0:
            said = f'{self._share:.0%} of the grapes held'
        elif self._best > 0.0:
            said = 'lifted, then lost'
        else:
            said = 'touched but not lifted' if self._touched else 'never touched'
        return SceneEvaluation(min(score, 1.0), success, said)


def _places(bunch: Bunch) -> FloatArray:
    """Middles of the grapes about that of the bunch, stem along y. Shape (n, 2). [m].

    They alternate between the two sides, so that neighbours just do not touch.
    """
    beside = _STEM_RADIUS + _PEDICEL + bunch.radius
    numbers = np.arange(bunch.grapes)
    along = (numbers - (bunch.grapes - 1) / 2.0) * 1.05 * bunch.radius
    return np.stack([np.where(numbers % 2 == 0, beside, -beside), along], axis=1)


TASK = PickGrape()
