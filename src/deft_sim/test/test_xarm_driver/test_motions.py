# SPDX-License-Identifier: Apache-2.0
"""The simulated driver of xarm_ros2 moves the arm and answers as the real one."""

from __future__ import annotations

import numpy as np
import pytest

from deft_arm.xarm_codes import (
    DISCONNECTED,
    EMERGENCY_STOPPED,
    HAS_ERROR,
    NOT_READY,
    OK,
    PARAMETER_ERROR,
    WAIT_TIMEOUT,
    Mode,
    State,
)
from deft_core.rotations import (
    euler_from_matrix,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)
from deft_sim.xarm_controller import COLLISION


@pytest.mark.parametrize(
    ('happens', 'code'),
    [
        (lambda bench: bench.box.fail(COLLISION), HAS_ERROR),
        (lambda bench: bench.box.set_state(4), EMERGENCY_STOPPED),
        (lambda bench: setattr(bench.box, 'connected', False), DISCONNECTED),
        (lambda bench: None, WAIT_TIMEOUT),
    ],
)
def test_a_wait_ends_with_the_codes_of_the_sdk(bench, happens, code):
    bench.get_ready()
    waiting = bench.send(
        'set_servo_angle', angles=bench.away(1.0), speed=0.1, acc=5.0, wait=True, timeout=0.5
    )
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    happens(bench)
    bench.graph.until(waiting.done)
    assert waiting.result().ret == code


def test_absolute_set_position_swallows_the_return_code(bench):
    pose = [400.0, 0.0, 300.0, np.pi, 0.0, 0.0]
    # Not enabled: a joint move says so, an absolute Cartesian one does not.
    assert bench.code('set_servo_angle', angles=bench.away(), speed=0.2) == NOT_READY
    assert bench.code('set_position', pose=pose, speed=100.0) == OK
    assert bench.code('set_position', pose=[0.0] * 6, relative=True) == NOT_READY
    assert bench.newest().cmdnum == 0
    assert bench.code('set_position', pose=[1.0, 2.0]) == PARAMETER_ERROR


def test_a_straight_line_ends_where_it_was_sent(bench):
    bench.get_ready()
    rotation, start = bench.box.flange(bench.box.setpoint())
    goal = 1000.0 * (start + np.array([0.0, 0.0, 0.1]))
    pose = [*goal, *euler_from_matrix(rotation)]
    assert bench.code('set_position', pose=pose, speed=200.0, wait=True, timeout=20.0) == OK
    np.testing.assert_allclose(bench.newest().pose[:3], goal, atol=0.5)
    far = [5000.0, 0.0, 0.0, *euler_from_matrix(rotation)]
    assert bench.code('set_position', pose=far) == OK
    bench.graph.until(lambda: bench.newest().err == 40)


def test_poses_are_in_millimetres_and_radians_in_both_forms(make_bench):
    bench = make_bench(switches={'debug': True})
    bench.get_ready()
    rotation, start = bench.box.flange(bench.box.setpoint())
    np.testing.assert_allclose(
        bench.call('get_position').datas,
        [*(1000.0 * start), *euler_from_matrix(rotation)],
        atol=1e-3,
    )
    # A step along the axis of the tool, then turned about it, as axis times angle in the base.
    step = [0.0, 0.0, 50.0, 0.0, 0.0, 0.0]
    moving = {'speed': 300.0, 'wait': True, 'timeout': 20.0}
    assert bench.code('set_tool_position', pose=step, **moving) == OK
    turned = matrix_from_rotation_vector(0.2 * rotation[:, 2]) @ rotation
    there = 1000.0 * (start + 0.05 * rotation[:, 2])
    pose = [*there, *rotation_vector_from_matrix(turned)]
    assert bench.code('set_position_aa', pose=pose, **moving) == OK
    read = np.array(bench.call('get_position_aa').datas)
    np.testing.assert_allclose(read[:3], there, atol=0.5)
    np.testing.assert_allclose(matrix_from_rotation_vector(read[3:]), turned, atol=1e-3)
    # In the frame of the tool `relative` means nothing.
    assert bench.code('set_position_aa', pose=step, is_tool_coord=True, **moving) == OK
    read = np.array(bench.call('get_position_aa').datas)
    np.testing.assert_allclose(read[:3], there + 50.0 * rotation[:, 2], atol=0.5)


def test_servo_mode_and_velocities(bench):
    bench.get_ready(int(Mode.SERVO))
    target = bench.away(0.1)
    assert bench.code('set_servo_angle_j', angles=target) == OK
    bench.graph.until(lambda: np.allclose(bench.newest().angle, target, atol=1e-5))
    bench.get_ready(int(Mode.CARTESIAN_VELOCITY))
    before = bench.newest().pose
    speeds = [0.0, 0.0, 50.0, 0.0, 0.0, 0.0]
    assert bench.code('vc_set_cartesian_velocity', speeds=speeds, duration=0.5) == OK
    bench.graph.until(lambda: bench.newest().state == State.READY)
    moved = np.array(bench.newest().pose) - before
    np.testing.assert_allclose(moved[:3], [0.0, 0.0, 25.0], atol=4.0)
    bench.get_ready(int(Mode.JOINT_VELOCITY))
    speeds = [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert bench.code('vc_set_joint_velocity', speeds=speeds) == OK
    bench.graph.until(lambda: bench.newest().state == State.MOVING)
    assert bench.code('set_state', data=4) == OK
    bench.graph.until(lambda: bench.newest().state == State.STOPPED)


def test_home_is_all_zeros(bench):
    bench.get_ready()
    bench.box.place(np.full(6, 0.05))
    assert bench.code('move_gohome', speed=0.5, acc=5.0, wait=True, timeout=20.0) == OK
    np.testing.assert_allclose(bench.newest().angle, np.zeros(6), atol=1e-6)
