# SPDX-License-Identifier: Apache-2.0
"""Open Drawer (paper, section 4): a drawer that stands slightly open is pulled further open.

The chest stands free on the table: who pulls too hard at a stiff drawer moves the chest, and that
opens nothing. The drawer stands open by less than a finger is thick, so that the way to open it is
the handle.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from deft_affordance.wrist_poses import HOOK
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
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

CHEST = 'chest'


@dataclass(frozen=True)
class Drawer:
    """A chest with one drawer and a handle in front of it."""

    width: float  # of the drawer's front [m]
    height: float  # of the drawer's front [m]
    depth: float  # of the chest [m]
    handle_height: float  # of its axis above the table [m]
    handle_length: float  # between its posts; 0: a knob [m]
    handle_radius: float  # [m]
    gap: float  # between the front and the axis of the handle [m]
    mass: float  # of the drawer [kg]
    friction: float  # dry friction of its runners [N]
    color: Color
    handle_color: Color
    slippery: bool = False  # polished metal


DRAWERS = {
    # Train set.
    'oak_chest': Drawer(
        0.20, 0.090, 0.18, 0.130, 0.120, 0.0060, 0.034, 0.30, 10.0,
        (0.72, 0.53, 0.32), (0.20, 0.20, 0.22),
    ),
    'white_chest': Drawer(
        0.22, 0.100, 0.18, 0.125, 0.140, 0.0070, 0.036, 0.40, 8.0,
        (0.88, 0.88, 0.86), (0.62, 0.64, 0.66), slippery=True,
    ),
    'blue_chest': Drawer(
        0.18, 0.080, 0.16, 0.135, 0.100, 0.0055, 0.032, 0.25, 12.0,
        (0.20, 0.34, 0.60), (0.90, 0.82, 0.30),
    ),
    'green_chest': Drawer(
        0.24, 0.110, 0.18, 0.120, 0.100, 0.0080, 0.038, 0.50, 9.0,
        (0.24, 0.46, 0.30), (0.85, 0.85, 0.80),
    ),
    # Held out: a narrow handle, a low wide one, and a knob.
    'red_chest': Drawer(
        0.17, 0.085, 0.16, 0.128, 0.080, 0.0065, 0.033, 0.30, 11.0,
        (0.66, 0.16, 0.14), (0.92, 0.92, 0.90),
    ),
    'walnut_chest': Drawer(
        0.26, 0.100, 0.18, 0.115, 0.160, 0.0075, 0.036, 0.60, 13.0,
        (0.34, 0.22, 0.14), (0.70, 0.60, 0.35), slippery=True,
    ),
    'grey_knob_chest': Drawer(
        0.20, 0.090, 0.17, 0.130, 0.0, 0.0160, 0.040, 0.30, 7.0,
        (0.50, 0.52, 0.55), (0.10, 0.10, 0.10),
    ),
}  # fmt: skip

LAYOUT_CENTRE = (0.60, 0.0)  # [m] base frame, middle of the chest's front
LAYOUT_HALF_EXTENTS = (0.02, 0.06)  # [m]
_YAW_HALF_RANGE = 0.12  # [rad]
SLIGHTLY_OPEN = (0.006, 0.014)  # [m] how far the drawer stands open at first
_TRAVEL = 0.16  # [m]
_CHEST_MASS = 5.0  # [kg] with what lies in it
_BOARD = 0.006  # [m]
_DAMPING = 6.0  # [N s/m] of the runners
_SLIPPERY = 0.45

OPENED = 0.010  # [m] the drawer must stand this much further open (paper, appendix F)
FULLY = 0.080  # [m] opening that earns the whole score
_TOUCH_SHARE = 0.15
_OPENING_SHARE = 0.85
TOUCH_FORCE = 0.05  # [N] a finger that presses less does not count

# The expert: grasp centre from the middle of the handle, in flange axes of the hook.
_BEYOND = 0.028  # [m] along the palm's normal
_ABOVE = 0.050  # [m]
_FINGER = (0.0, 0.40, 0.90, 0.84)  # [rad] side, forward, PIP, DIP
_THUMB = (0.0, 0.70, 0.0, 0.0)  # [rad]
_PULL = 0.12  # [m] of the whole demonstration
_RATE = 10.0  # [Hz]


class OpenDrawer(SimulatedTask):
    """One chest on the table; what is grasped is the drawer with its handle."""

    @property
    def object_names(self) -> tuple[str, ...]:
        """See `SimulatedTask`."""
        return tuple(DRAWERS)

    def build(self, spec: mujoco.MjSpec, object_name: str) -> None:
        """A free chest, and in it a drawer that slides along its -x axis."""
        drawer = DRAWERS[object_name]
        chest = spec.worldbody.add_body(name=CHEST)
        chest.add_freejoint(name=CHEST)
        low = drawer.handle_height - drawer.height / 2.0
        _add_chest(chest, drawer, low)
        body = chest.add_body(name=OBJECT_BODY)
        body.add_joint(
            name=OBJECT_BODY,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[-1.0, 0.0, 0.0],
            range=[0.0, _TRAVEL],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            frictionloss=drawer.friction,
            damping=_DAMPING,
            armature=0.05,
        )
        _add_drawer(body, drawer, low)
        spec.add_exclude(bodyname1=CHEST, bodyname2=OBJECT_BODY)

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        """Its front towards the base, a little turned, the drawer slightly open."""
        del object_name  # all chests stand alike
        offset = generator.uniform(-1.0, 1.0, 2) * LAYOUT_HALF_EXTENTS
        x, y = np.asarray(LAYOUT_CENTRE) + offset
        yaw = _YAW_HALF_RANGE * generator.uniform(-1.0, 1.0)
        data.joint(CHEST).qpos = [x, y, 0.0, np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)]
        data.joint(OBJECT_BODY).qpos = generator.uniform(*SLIGHTLY_OPEN)

    def judge(self) -> OpenDrawerJudge:
        """See `SimulatedTask`."""
        return OpenDrawerJudge()

    def expert_grasp(self, data: mujoco.MjData, object_name: str) -> GraspParameters:
        """Fingers behind the handle from above."""
        drawer = DRAWERS[object_name]
        chest = data.body(OBJECT_BODY)
        handle = chest.xpos + chest.xmat.reshape(3, 3) @ [-drawer.gap, 0.0, drawer.handle_height]
        return GraspParameters(
            position=handle + _BEYOND * HOOK[:, 0] + [0.0, 0.0, _ABOVE],
            wrist_rotation=euler_from_matrix(HOOK),
            joint_positions=np.array([*_FINGER, *_FINGER, *_FINGER, *_THUMB]),
        )

    @property
    def demonstration(self) -> Demonstration:
        """Straight towards the base with a smooth start and end."""
        share = np.linspace(0.0, 1.0, TRAJECTORY_STEPS + 1)
        translations = np.zeros((TRAJECTORY_STEPS, 3))
        translations[:, 0] = -np.diff(_PULL * (3.0 * share**2 - 2.0 * share**3))
        turns = np.zeros((TRAJECTORY_STEPS, 3))
        return Demonstration(
            'oak_chest', 1, WristTrajectory(translations, turns, _RATE, 'intended pull')
        )


class OpenDrawerJudge(Judge):
    """The operator of Open Drawer.

    The criterion of the paper: at the end the drawer stands at least 1 cm further open than at
    the beginning. Moving the whole chest opens nothing.

    The score: 0.15 for touching drawer or handle, 0.85 for the opening, whole at 8 cm more than
    at first. A drawer that was pulled and pushed back earns what is open at the end; an opening
    below the criterion earns at most what touching does.
    """

    def __init__(self) -> None:
        """Start an episode."""
        self._first: float | None = None
        self._opening = 0.0
        self._touched = False
        self._collided = False

    def watch(self, data: mujoco.MjData, contacts: ContactSummary, *, collided: bool) -> None:
        """See `Judge`."""
        touched = bool(np.any(contacts.finger_forces > TOUCH_FORCE))
        self.update(float(data.joint(OBJECT_BODY).qpos[0]), touched=touched, collided=collided)

    def update(self, position: float, *, touched: bool, collided: bool) -> None:
        """Note one instant: how far the drawer stands out of the chest [m], and by whom."""
        if self._first is None:
            self._first = position
        self._opening = position - self._first
        self._touched = self._touched or touched
        self._collided = self._collided or collided

    def evaluate(self) -> SceneEvaluation:
        """Judge the episode as it stands."""
        if self._first is None:
            return SceneEvaluation(0.0, False, 'nothing has happened since the scene was laid out')
        if self._collided:
            return SceneEvaluation(0.0, False, 'the arm collided with table or chest')
        millimetres = 1000.0 * self._opening
        score = _TOUCH_SHARE * float(self._touched)
        if self._opening < OPENED:
            said = f'opened by {millimetres:.0f} mm' if self._touched else 'never touched'
            return SceneEvaluation(score, False, said)
        score += _OPENING_SHARE * min(self._opening / FULLY, 1.0)
        return SceneEvaluation(score, True, f'opened by {millimetres:.0f} mm')


def _add_chest(chest: mujoco.MjsBody, drawer: Drawer, low: float) -> None:
    """A case of boards around the drawer; its origin is on the table, below its front."""
    half_width = drawer.width / 2.0 + 0.002 + _BOARD
    top = low + drawer.height + 0.002 + 2.0 * _BOARD
    depth = drawer.depth
    boards = {
        'base': ([depth / 2.0, 0.0, low / 2.0], [depth / 2.0, half_width, low / 2.0]),
        'left': ([depth / 2.0, half_width, top / 2.0], [depth / 2.0, _BOARD / 2.0, top / 2.0]),
        'right': ([depth / 2.0, -half_width, top / 2.0], [depth / 2.0, _BOARD / 2.0, top / 2.0]),
        'top': ([depth / 2.0, 0.0, top], [depth / 2.0, half_width + _BOARD / 2.0, _BOARD / 2.0]),
        'back': ([depth, 0.0, top / 2.0], [_BOARD / 2.0, half_width, top / 2.0]),
    }
    for name, (position, size) in boards.items():
        chest.add_geom(
            name=f'{CHEST}_{name}',
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=position,
            size=size,
            mass=_CHEST_MASS / len(boards),
            rgba=[*drawer.color, 1.0],
            group=2,
            **CONTACT,
        )


def _add_drawer(body: mujoco.MjsBody, drawer: Drawer, low: float) -> None:
    """Front and tray; its origin is that of the chest while it is shut."""
    middle = low + drawer.height / 2.0
    contact = {**CONTACT}
    if drawer.slippery:
        contact['friction'] = [_SLIPPERY, *CONTACT['friction'][1:]]
    body.add_geom(
        name='object_front',
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[-_BOARD / 2.0, 0.0, middle],
        size=[_BOARD / 2.0, drawer.width / 2.0, drawer.height / 2.0],
        mass=0.5 * drawer.mass,
        rgba=[*(0.92 * np.array(drawer.color)), 1.0],
        group=2,
        **CONTACT,
    )
    body.add_geom(
        name='object_tray',
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[drawer.depth / 2.0, 0.0, low + 0.01],
        size=[drawer.depth / 2.0 - _BOARD, drawer.width / 2.0 - 0.004, 0.004],
        mass=0.4 * drawer.mass,
        rgba=[*(0.8 * np.array(drawer.color)), 1.0],
        group=2,
        **CONTACT,
    )
    front, height = -_BOARD, drawer.handle_height
    handle = {'rgba': [*drawer.handle_color, 1.0], 'group': 2, **contact}
    if drawer.handle_length == 0.0:
        stem, grip = 0.4 * drawer.handle_radius, [-drawer.gap, 0.0, height]
        body.add_geom(
            name='object_knob',
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            pos=grip,
            size=[drawer.handle_radius, 0.0, 0.0],
            mass=0.1 * drawer.mass,
            **handle,
        )
        _add_capsule(body, 'object_stem', [front, 0.0, height], grip, stem, handle)
        return
    end = drawer.handle_length / 2.0
    left, right = [-drawer.gap, end, height], [-drawer.gap, -end, height]
    _add_capsule(body, 'object_bar', left, right, drawer.handle_radius, handle)
    for name, tip in (('left', left), ('right', right)):
        root = [front, tip[1], height]
        _add_capsule(body, f'object_{name}_post', root, tip, drawer.handle_radius, handle)


def _add_capsule(
    body: mujoco.MjsBody,
    name: str,
    start: list[float],
    end: list[float],
    radius: float,
    properties: dict[str, object],
) -> None:
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*start, *end],
        size=[radius, 0.0, 0.0],
        mass=0.01,
        **properties,
    )


TASK = OpenDrawer()
