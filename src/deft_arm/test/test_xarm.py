# SPDX-License-Identifier: Apache-2.0
"""Numbers of the controller in words, commands for its queue, and the order of a bring-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deft_arm.planning.paths import MotionLimits, constant_rate, hold, point_to_point
from deft_arm.planning.plan import Phase
from deft_arm.xarm.codes import COLLISIONS, describe_error, describe_return, describe_state
from deft_arm.xarm.commands import (
    CLEAN_ERROR,
    CLEAN_WARNING,
    ENABLING,
    motion_calls,
    settings_calls,
)

LIMITS = MotionLimits(np.full(6, 2.0), np.full(6, 8.0), np.full(6, 400.0))


def test_numbers_in_words():
    assert describe_error(31).startswith('C31: abnormal current')
    assert describe_error(9999).startswith('C9999: ')
    assert {22, 31, 35, 37} == COLLISIONS
    assert 'Blockly' in describe_return(-11)
    assert 'Blockly' in describe_return(-12)
    assert describe_return(997) == '997: too few numbers in the request'
    assert 'not listed' in describe_return(555)
    assert describe_state(5, 0) == 'state 5 (changed), mode 0 (position)'
    assert describe_state(77, 99) == 'state 77 (77), mode 99 (99)'


def test_the_order_of_a_recovery(configuration):
    """What the SDK takes: the load only in state 0, which settings end; state 0 last."""
    calls = [*settings_calls(configuration.controller), *ENABLING]
    names = [call.service for call in calls]
    ready = ['motion_enable', 'set_mode', 'set_state']
    assert names[:6] == [*ready, 'set_tcp_offset', 'set_state', 'set_tcp_load']
    assert names[-3:] == ready
    assert calls[-3].fields == {'id': 8, 'data': 1}
    assert all(call.fields == {'data': 0} for call in calls if call.service == 'set_state')
    # What is still pending is no reason not to go on with clearing, but for a setting it is.
    assert all(call.taken == {0, 1, 2} for call in (CLEAN_ERROR, CLEAN_WARNING))
    assert all(call.taken == {0} for call in calls)
    # Nothing waits: that would block the only thread of the driver.
    assert not any('wait' in call.fields for call in calls)


def test_the_fence_is_sent_in_millimetres_upper_before_lower(configuration):
    calls = {call.service: call for call in settings_calls(configuration.controller)}
    controller = configuration.controller
    sent = calls['set_reduced_tcp_boundary'].fields['datas']
    for axis in range(3):
        assert sent[2 * axis] == round(1000.0 * controller.fence_upper[axis])
        assert sent[2 * axis + 1] == round(1000.0 * controller.fence_lower[axis])
    assert calls['set_tcp_load'].fields['center_of_gravity'][2] == pytest.approx(85.0)


def flange(joints):
    """A flange whose place depends on three joints only: turns of the others do not move it."""
    return 0.5 * joints[:3]


def assert_blends(path, commands, flange):
    """At most 5 mm and half of the shorter of the two tracks that a blend connects."""
    points = [flange(path.positions[0])] + [flange(np.array(c['angles'])) for c in commands]
    tracks = 1000.0 * np.linalg.norm(np.diff(points, axis=0), axis=1)
    for command, before, after in zip(commands, tracks, tracks[1:], strict=False):
        assert 0.0 <= command['radius'] <= 5.0
        assert command['radius'] <= 0.5 * min(before, after) + 1e-6


WAYPOINTS = st.integers(2, 30).flatmap(
    lambda n: arrays(np.float64, (n, 6), elements=st.floats(-0.05, 0.05)).map(
        lambda steps: np.cumsum(steps, axis=0)
    )
)


@given(WAYPOINTS)
def test_commands_end_at_the_path_and_stop_only_there(waypoints):
    path = constant_rate(waypoints, 10.0, LIMITS)
    commands = [call.fields for call in motion_calls(path, 6.0, flange)]
    if not commands:
        assert np.abs(path.positions - path.positions[0]).max() < 0.01
        return
    np.testing.assert_allclose(commands[-1]['angles'], path.positions[-1])
    stops = [command['radius'] < 0.0 for command in commands]
    assert stops == [False] * (len(commands) - 1) + [True]
    assert_blends(path, commands, flange)
    for command in commands:
        # 0 would mean the last speed that anybody used.
        assert command['speed'] > 0.0
        assert command['acc'] == 6.0
        assert not command['wait']
        assert np.abs(path.positions - command['angles']).max(axis=1).min() < 0.05


def test_commands_keep_the_pace_of_the_path():
    path = point_to_point(np.zeros(6), np.full(6, 1.0), 2.0, LIMITS)
    commands = [call.fields for call in motion_calls(path, 6.0, flange)]
    # Ways too short for a command of their own are joined to the next one.
    assert len(commands) in (19, 20)
    position, total = path.positions[0], 0.0
    for command in commands:
        total += np.abs(np.subtract(command['angles'], position)).max() / command['speed']
        position = command['angles']
    assert total == pytest.approx(path.duration, rel=0.05)


def test_a_path_at_rest_needs_no_command():
    assert motion_calls(hold(np.full(6, 0.3), 1.3), 6.0, flange) == []


@pytest.mark.parametrize('step', [0.004, 0.0005])
def test_no_command_of_a_plan_is_blended_by_more_than_half_a_track(plan, planner, cup, step):
    where = planner.kinematics.flange_position
    for phase in plan(trajectory=cup.lift(step)).phases:
        commands = [call.fields for call in motion_calls(phase.arm, 6.0, where)]
        assert_blends(phase.arm, commands, where)
        if phase.name == Phase.FOLLOW_TRAJECTORY:
            radii = [command['radius'] for command in commands[1:-1]]
            np.testing.assert_allclose(radii, 2.0 if step == 0.004 else 0.5, atol=0.3)
