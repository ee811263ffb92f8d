# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import mujoco
import numpy as np
import pytest
import yaml

from deft_arm.configuration import load_arm_configuration
from deft_arm.planning.geometry import RobotGeometry
from deft_core.errors import ConfigurationError
from deft_description import models


@pytest.fixture
def write(configuration, tmp_path):
    """Write a copy of the xArm6 file with entries replaced; None removes one."""

    def make(**changes):
        import dataclasses

        values = dataclasses.asdict(configuration)
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        values.update(changes)
        values = {k: v for k, v in values.items() if v is not None}
        (tmp_path / 'arms').mkdir(exist_ok=True)
        (tmp_path / 'arms' / 'xarm6.yaml').write_text(yaml.safe_dump(values))
        return tmp_path

    return make


def test_limits_are_never_wider_than_the_published_ones(configuration):
    model = models.robot_model()
    published = np.array([model.joint(name).range for name in configuration.joint_names])
    assert np.all(np.array(configuration.position_lower) >= published[:, 0] - 1e-9)
    assert np.all(np.array(configuration.position_upper) <= published[:, 1] + 1e-9)
    assert np.all(np.array(configuration.speed_limit) <= 3.14)
    assert configuration.joint_names == models.ARM_JOINT_NAMES


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'home': [0.0, -9.0, 0.0, 0.0, 0.0, 0.0]}, 'home'),
        ({'home': [0.0, -2.04, 0.0, 0.0, 0.0, 0.0]}, 'outside the joint limits'),
        ({'speed_limit': [2.0, 2.0, 2.0, 2.0, 2.0, 180.0]}, 'rad/s'),
        ({'position_lower': [3.0, 2.0, 3.0, 3.0, 3.0, 3.0]}, 'below position_upper'),
        ({'workspace_lower': [0.8, 0.0, 0.0]}, 'workspace_lower'),
        ({'envelope_upper': [0.8, -1.0, 1.0]}, 'envelope_lower'),
        ({'speed_caps': {'aproach': 0.3}}, 'names of phases'),
        ({'speed_caps': {'approach': 300.0}}, 'm/s'),
        ({'obstacles': [{'name': 'wall', 'centre': [1.0, 0.0, 0.0]}]}, "'size' is missing"),
        ({'joint_names': ['joint1'] * 6}, 'in this order'),
        ({'move_duration': None}, 'missing'),
        ({'move_durations': 1.0}, "did you mean 'move_duration'"),
    ],
)
def test_wrong_files_are_refused(write, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        load_arm_configuration('xarm6', write(**changes))


def test_unknown_arm_names_the_known_ones(write):
    with pytest.raises(ConfigurationError, match=r"'ur5'.*xarm6"):
        load_arm_configuration('ur5', write())


def test_lowest_points_agree_with_a_plane_under_the_robot(configuration):
    """MuJoCo's own distance to a table plane, over random postures."""
    specification = models.robot_spec()
    specification.worldbody.add_geom(
        name='table', type=mujoco.mjtGeom.mjGEOM_PLANE, size=[2.0, 2.0, 0.1]
    )
    model = specification.compile()
    data = mujoco.MjData(model)
    table = model.geom('table').id
    geometry = RobotGeometry(0.02, 0.02)
    generator = np.random.default_rng(0)
    lower, upper = configuration.planning_limits()
    hand = np.linspace(0.1, 0.5, 16)
    moving = [
        i
        for i in range(model.ngeom)
        if i != table and model.body(model.geom_bodyid[i]).name not in ('link_base', 'link1')
    ]
    for _ in range(20):
        arm = generator.uniform(lower, upper)
        data.qpos[:] = np.concatenate([arm, hand])
        mujoco.mj_forward(model, data)
        lowest = min(mujoco.mj_geomDistance(model, data, i, table, 5.0, None) for i in moving)
        sweep = geometry.sweep(arm[None], hand)
        assert sweep.lowest[0] == pytest.approx(lowest, abs=1e-6)
        # The box around everything has the lowest point on its bottom.
        assert sweep.lower[0, 2] == sweep.lowest[0]
