# SPDX-License-Identifier: Apache-2.0
"""Puts the errors of one assembled hand into the compiled model."""

from __future__ import annotations

import mujoco

from deft_core.grasp import HAND_JOINT_NAMES
from deft_description.models import MOTOR_NAMES
from deft_hand_driver.simulated_hand import HandMounting


def mount_hand(model: mujoco.MjModel, mounting: HandMounting) -> None:
    """Change moment arms and friction of the hand; its zeros belong to the spools (`cell.py`).

    Args:
        model: With the hand, as compiled.
        mounting: What the hand drew.
    """
    factors = {
        model.joint(name).id: factor
        for name, factor in zip(HAND_JOINT_NAMES, mounting.arm_factors, strict=True)
    }
    for motor in MOTOR_NAMES:
        tendon = model.tendon(motor).id
        first = model.tendon_adr[tendon]
        for place in range(first, first + model.tendon_num[tendon]):
            model.wrap_prm[place] *= factors[model.wrap_objid[place]]
    for name, friction in zip(HAND_JOINT_NAMES, mounting.frictions, strict=True):
        model.dof_frictionloss[model.joint(name).dofadr[0]] = friction
