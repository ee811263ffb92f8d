# SPDX-License-Identifier: Apache-2.0
"""Motor, loads and profiles of simulated servos."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError
from dynamixel_simulator.loads import ElasticTendon
from dynamixel_simulator.motor import AMBIENT, ServoMotor
from dynamixel_simulator.motor_models import MODELS
from dynamixel_simulator.profile import PositionProfile, VelocityProfile

STEP = 0.002


@pytest.fixture(params=list(MODELS))
def specification(request):
    return MODELS[request.param].specification


def run(motor, output, seconds):
    for _ in range(round(seconds / STEP)):
        motor.drive_voltage(output, STEP)


def test_without_load_it_reaches_the_speed_of_the_data_sheet(specification):
    motor = ServoMotor(specification)
    run(motor, 1.0, 1.0)
    assert motor.velocity == pytest.approx(specification.no_load_speed, rel=0.01)
    assert 0.0 < motor.current < 0.5 * specification.stall_current


def test_it_stalls_at_the_torque_and_current_of_the_data_sheet(specification):
    motor = ServoMotor(specification)
    # Dry friction helps to hold: what drives it back is more than stall torque and friction twice.
    motor.load_torque = -1.07 * specification.stall_torque
    run(motor, 1.0, 1.0)
    assert motor.velocity < 0.0  # overpowered
    motor = ServoMotor(specification)
    motor.load_torque = -0.98 * specification.stall_torque
    run(motor, 1.0, 1.0)
    assert motor.velocity > 0.0
    motor.stuck = True
    run(motor, 1.0, STEP)
    assert motor.current == pytest.approx(specification.stall_current)


def test_the_current_loop_keeps_its_current_until_the_voltage_ends(specification):
    motor = ServoMotor(specification)
    wanted = 0.3 * specification.stall_current
    motor.drive_current(wanted, 1.0, STEP)
    assert motor.current == pytest.approx(wanted)
    for _ in range(1000):
        output = motor.drive_current(wanted, 1.0, STEP)
    assert abs(output) <= 1.0
    assert motor.velocity < specification.no_load_speed
    motor.drive_current(100.0, 0.5, STEP)
    assert motor.current < 0.51 * specification.stall_current


def test_dry_friction_holds_a_small_load_and_not_a_large_one(specification):
    motor = ServoMotor(specification)
    motor.load_torque = 0.02 * specification.stall_torque
    for _ in range(100):
        motor.release(STEP)
    assert motor.position == motor.velocity == 0.0
    motor.load_torque = 0.1 * specification.stall_torque
    for _ in range(100):
        motor.release(STEP)
    assert motor.position > 0.0
    motor.load_torque = 0.0
    for _ in range(1000):
        motor.release(STEP)
    assert motor.velocity == 0.0


def test_it_warms_up_with_the_square_of_the_current_and_cools_down(specification):
    warm = []
    for share in (0.2, 0.4):
        motor = ServoMotor(specification)
        motor.stuck = True
        for _ in range(40):
            motor.drive_current(share * specification.stall_current, 1.0, 1.0)
        warm.append(motor.temperature - AMBIENT)
    assert warm[1] == pytest.approx(4.0 * warm[0], rel=1e-6)
    for _ in range(4000):
        motor.release(1.0)
    assert motor.temperature == pytest.approx(AMBIENT, abs=0.01)


def test_a_low_supply_makes_it_weak(specification):
    motor = ServoMotor(specification)
    motor.voltage = 0.5 * specification.voltage
    run(motor, 1.0, 1.0)
    assert motor.velocity < 0.55 * specification.no_load_speed
    assert motor.stall_current == pytest.approx(0.5 * specification.stall_current)


def test_tendons_pull_only():
    tendon = ElasticTendon(taut_at=0.2, stiffness=0.5, stop_at=1.2, stop_stiffness=20.0)
    assert tendon(0.1, 0.0) == 0.0
    assert tendon(0.7, 3.0) == pytest.approx(-0.25)
    assert tendon(1.3, 0.0) == pytest.approx(-0.55 - 2.0)
    backwards = ElasticTendon(-0.2, 0.5, -1.2, 20.0, winds=-1)
    assert backwards(-0.7, 0.0) == pytest.approx(0.25)
    assert backwards(0.7, 0.0) == 0.0


@pytest.mark.parametrize(
    'wrong',
    [{'winds': 0}, {'stiffness': -1.0}, {'stop_at': 0.1}, {'winds': -1}],
)
def test_impossible_tendons_are_refused(wrong):
    entries = {'taut_at': 0.2, 'stiffness': 0.5, 'stop_at': 1.2, 'stop_stiffness': 1.0}
    with pytest.raises(InvalidInputError):
        ElasticTendon(**(entries | wrong))


PLACES = st.floats(-500.0, 500.0, allow_subnormal=False)


@settings(max_examples=30)
@given(
    st.lists(PLACES, min_size=1, max_size=4),
    st.floats(100.0, 5000.0),
    st.floats(1000.0, 50000.0),
)
def test_profiles_keep_their_limits_also_when_the_goal_changes(goals, speed, acceleration):
    profile = PositionProfile(0.0)
    before = 0.0
    for goal in goals:
        profile.go(goal, speed, acceleration)
        for _ in range(30):
            profile.step(0.004)
            assert abs(profile.velocity) <= speed * (1.0 + 1e-9)
            change = abs(profile.velocity - before)
            # The last step onto the goal may be a little harder.
            assert (
                change <= 2.0 * acceleration * 0.004
                if profile.velocity == 0.0
                else (change <= acceleration * 0.004 * (1.0 + 1e-9))
            )
            before = profile.velocity
    # To slow down, to come back from there, and to speed up and slow down again.
    wait = abs(profile.position - goals[-1]) / speed + 5.0 * speed / acceleration + 1.0
    steps = 0
    while profile.ongoing and steps * 0.004 < wait:
        profile.step(0.004)
        steps += 1
    assert profile.position == goals[-1]
    assert profile.velocity == 0.0
    assert not profile.ongoing


@settings(max_examples=30)
@given(PLACES.filter(lambda goal: abs(goal) > 1.0), st.integers(100, 1000), st.integers(0, 1000))
def test_time_based_profiles_take_their_time(goal, duration, ramp):
    profile = PositionProfile(0.0)
    profile.go_in_time(goal, 0.001 * duration, 0.001 * ramp)
    steps = 0
    while profile.ongoing:
        profile.step(0.001)
        steps += 1
        assert steps < 10000
    assert steps == pytest.approx(duration, abs=0.02 * duration + 5.0)


def test_profile_kinds_are_those_of_the_manual():
    profile = PositionProfile(0.0)
    kinds = []
    for goal, speed, acceleration in [
        (100, 0, 50),
        (2000, 100, 0),
        (3000, 100, 1000),
        (3001, 100, 100),
    ]:
        profile.rest(profile.goal)
        profile.go(goal, speed, acceleration)
        kinds.append(profile.kind)
    assert kinds == [0x00, 0x10, 0x30, 0x20]


def test_a_step_is_there_at_once():
    profile = PositionProfile(0.0)
    profile.go(100.0, 0.0, 0.0)
    profile.step(0.001)
    assert (profile.position, profile.velocity) == (100.0, 0.0)


def test_velocity_profiles_ramp():
    profile = VelocityProfile()
    profile.go(100.0, 50.0)
    profile.step(1.0)
    assert profile.velocity == 50.0
    profile.step(5.0)
    assert profile.velocity == 100.0
    profile.go(-10.0, 0.0)
    profile.step(0.001)
    assert profile.velocity == -10.0
    profile.rest()
    assert profile.velocity == profile.goal == 0.0
