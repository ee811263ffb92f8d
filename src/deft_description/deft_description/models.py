# SPDX-License-Identifier: Apache-2.0
"""The robot as a MuJoCo model: an xArm6 with a DASH-like hand on its flange.

Everybody who needs the kinematics (planner, simulator, tests) reads them here, so that there is
one source of every length. Joint names are those of the joint state messages. Lengths are in
metres, angles in radians; the world frame of these models is `link_base`.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import mujoco

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

ARM_JOINT_NAMES = ('joint1', 'joint2', 'joint3', 'joint4', 'joint5', 'joint6')
"""Arm joints from base to flange, as xarm_ros2 names them."""

MOTOR_NAMES = tuple(
    f'{finger}_{motor}'
    for finger in ('index', 'middle', 'ring', 'thumb')
    for motor in ('side', 'forward', 'curl')
)
"""The twelve tendon motors of the hand, finger by finger (paper, appendix B)."""

FLANGE_SITE = 'flange'
"""Site at the frame `link_eef`."""

GRASP_CENTRE_SITE = 'grasp_centre'
"""Site fixed in the hand that the position of a grasp places."""


def arm_asset() -> Traversable:
    """Returns the MJCF file of the arm without a hand."""
    return resources.files('deft_description') / 'assets' / 'xarm6' / 'xarm6.xml'


def hand_asset() -> Traversable:
    """Returns the MJCF file of the hand alone, in its flange frame."""
    return resources.files('deft_description') / 'assets' / 'dash_hand' / 'dash_hand.xml'


def arm_spec() -> mujoco.MjSpec:
    """Returns a fresh, editable specification of the arm without a hand."""
    return mujoco.MjSpec.from_string(arm_asset().read_text(encoding='utf-8'))


def robot_spec() -> mujoco.MjSpec:
    """Returns a fresh specification of arm and hand, with no world around them.

    Joint order is the six arm joints, then the sixteen hand joints finger by finger; actuator
    order is the six arm servos (control in rad), then the twelve tendon motors (control is the
    tendon excursion in m).

    The two files are merged as documents, not with `MjSpec.attach`: that would have to prefix
    every name of the hand (an empty prefix is accepted with a warning on every compile).
    """
    # S314: these two files are part of this package, not input.
    robot = ElementTree.fromstring(arm_asset().read_text(encoding='utf-8'))  # noqa: S314
    hand = ElementTree.fromstring(hand_asset().read_text(encoding='utf-8'))  # noqa: S314
    robot.set('model', 'xarm6_dash')
    flange_body = _element(robot, './/body[@name="link6"]')
    flange_body.extend(_element(hand, 'worldbody'))
    for section in ('default', 'actuator'):
        _element(robot, section).extend(_element(hand, section))
    for section in ('contact', 'tendon'):
        robot.append(_element(hand, section))
    return mujoco.MjSpec.from_string(ElementTree.tostring(robot, encoding='unicode'))


def _element(document: ElementTree.Element, path: str) -> ElementTree.Element:
    """Returns the one element at ``path``; the assets are ours, so a missing one is a defect."""
    element = document.find(path)
    if element is None:
        raise AssertionError(f'the MJCF asset of the robot has no element {path!r}')
    return element


def robot_model() -> mujoco.MjModel:
    """Returns the compiled robot for kinematics: 22 joints, world frame ``link_base``."""
    return robot_spec().compile()
