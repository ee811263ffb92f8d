# SPDX-License-Identifier: Apache-2.0
"""What a scene draws, and what its contacts make of it."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from deft_core.grasp import FINGERS
from deft_sim.configuration import SimulationSettings
from deft_sim.tasks import OBJECT_BODY, SimulatedTask
from deft_sim.world import World


def touching(world: World, data: mujoco.MjData, bodies: tuple[str, ...]) -> list[int]:
    """Contacts of the object with bodies whose names begin so."""
    found = []
    for number, geoms in enumerate(data.contact.geom):
        names = [world.model.body(world.model.geom_bodyid[geom]).name for geom in geoms]
        if OBJECT_BODY in names and any(name.startswith(bodies) for name in names):
            found.append(number)
    return found


def test_friction_is_that_of_what_is_touched_and_of_the_scene(
    settings: SimulationSettings, task: SimulatedTask
) -> None:
    """Skin on cup and cup on table, 0.5 to 1.1 each, in the contacts that MuJoCo makes."""
    world = World(settings, task, 'red_mug')
    data = mujoco.MjData(world.model)
    data.qpos[:6] = settings.arm_home
    mujoco.mj_forward(world.model, data)
    fingertip = data.site('middle_tip').xpos.copy()
    drawn: dict[str, list[float]] = {'skin': [], 'table': []}
    for seed in range(60):
        world.vary(settings.cell.variation, np.random.default_rng(seed))
        for kind, place, bodies in (
            ('skin', fingertip, FINGERS),
            ('table', np.array([0.55, 0.0, -0.001]), ('world',)),
        ):
            data.joint(OBJECT_BODY).qpos[:3] = place
            mujoco.mj_forward(world.model, data)
            contacts = touching(world, data, bodies)
            drawn[kind].append(float(data.contact.friction[contacts][0, 0]))
    for values in drawn.values():
        assert 0.5 <= min(values) < 0.55
        assert 1.05 < max(values) <= 1.1
    assert abs(np.corrcoef(drawn['skin'], drawn['table'])[0, 1]) < 0.4  # a draw for each pair


@pytest.mark.parametrize('factor', [0.3, 2.0])
def test_constants_belong_to_the_mass_that_was_drawn(
    settings: SimulationSettings, task: SimulatedTask, factor: float
) -> None:
    """As if the object had been compiled with that mass; stale constants ended in NaN."""

    class Extreme(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            return high if factor > 1.0 else low

    world, changed = (World(settings, task, 'red_mug') for _ in range(2))
    variation = dataclasses.replace(settings.cell.variation, mass_share=abs(factor - 1.0))
    changed.vary(variation, Extreme(np.random.PCG64(0)))
    body, joint = world.model.body(OBJECT_BODY).id, world.model.joint(OBJECT_BODY).dofadr[0]
    for name, place, power in (
        ('body_mass', body, 1.0),
        ('body_inertia', body, 1.0),
        ('body_subtreemass', body, 1.0),
        ('body_invweight0', body, -1.0),
        ('dof_invweight0', joint, -1.0),
    ):
        expected = factor**power * getattr(world.model, name)[place]
        np.testing.assert_allclose(getattr(changed.model, name)[place], expected, rtol=1e-6)
