# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from deft_arm.execution import ExecutionSettings, Failure, Observed, PlanExecution
from deft_arm.planning.paths import JointPath
from deft_arm.planning.plan import MotionPlan, Phase, PlannedPhase

STEP = 0.02


def two_phases():
    end = np.full(6, 0.8)
    return MotionPlan(
        (
            PlannedPhase(Phase.APPROACH, JointPath([0.0, 1.0], np.array([np.zeros(6), end]))),
            PlannedPhase(
                Phase.FOLLOW_TRAJECTORY,
                JointPath([0.0, 1.0], np.stack([end, end]), marks=np.arange(1, 41) / 40.0),
            ),
        )
    )


class Run:
    """Runs a plan with an arm that follows at once, on clocks that the test moves."""

    def __init__(self, plan, settings=None, own_pace=False):
        self.real = 0.0
        self.now = 100.0
        self.started = []
        self.marks = None
        self.stuck = None
        self.age = 0.0
        self.execution = PlanExecution(
            plan, settings or ExecutionSettings(), clock=lambda: self.real, own_pace=own_pace
        )
        self.idle = True

    def arm(self):
        if self.stuck is not None:
            return self.stuck
        return self.execution.phase.arm.sample(max(0.0, self.now - self.begin))

    def cycle(self, ros=STEP, real=STEP):
        self.now += ros
        self.real += real
        if not self.started:
            self.begin = self.now
        observed = Observed(self.now, self.arm(), self.age, self.idle)
        update = self.execution.update(observed)
        if update.start is not None:
            self.started.append(update.start.name)
            self.begin = self.now
        return update

    def until_end(self, cycles=1000, **steps):
        for _ in range(cycles):
            update = self.cycle(**steps)
            if update.finished or update.failure is not None:
                return update
        raise AssertionError('the plan did not end')


def test_runs_every_phase_once_and_for_its_time():
    run = Run(two_phases())
    assert run.until_end().finished
    assert run.started == [Phase.APPROACH, Phase.FOLLOW_TRAJECTORY]
    assert run.now - 100.0 == pytest.approx(2.0, abs=4 * STEP)


def test_progress_rises_from_zero_to_one():
    run = Run(two_phases())
    values, totals = [], []
    while not run.cycle().finished:
        values.append(run.execution.progress(run.now))
        totals.append(run.execution.total_progress(run.now))
    assert totals == sorted(totals)
    assert totals[0] == pytest.approx(0.0, abs=0.02)
    assert totals[-1] == pytest.approx(1.0, abs=0.02)
    assert 0.0 <= min(values) <= max(values) <= 1.0


def test_slow_simulation_takes_longer_without_a_timeout():
    run = Run(two_phases())
    assert run.until_end(ros=0.002, real=0.1, cycles=3000).finished


def test_a_standing_ros_clock_is_noticed():
    run = Run(two_phases())
    run.cycle()
    update = run.until_end(ros=0.0, real=0.1)
    assert update.failure is Failure.STALE_STATE
    assert 'clock' in update.message


def test_a_ros_clock_set_back_is_noticed():
    run = Run(two_phases())
    for _ in range(10):
        run.cycle()
    update = run.cycle(ros=-50.0)
    assert update.failure is Failure.STALE_STATE


def test_silent_joint_states_are_noticed():
    run = Run(two_phases())
    run.cycle()
    run.age = 2.1
    assert run.cycle().failure is Failure.STALE_STATE


def test_an_arm_that_stops_on_the_way_is_a_collision():
    run = Run(two_phases())
    for _ in range(10):
        run.cycle()
    run.stuck = run.arm()
    update = run.until_end()
    assert update.failure is Failure.COLLISION
    assert 'approach' in update.message
    # Noticed on the way, not at the end of the phase.
    assert run.now - run.begin < 1.0


def test_an_arm_that_stops_short_of_the_end_times_out():
    run = Run(two_phases(), ExecutionSettings(settle_timeout=1.0))
    while run.execution.progress(run.now) < 0.9:
        run.cycle()
    run.stuck = np.full(6, 0.72)
    update = run.until_end()
    assert update.failure is Failure.MOTION_TIMEOUT
    assert '0.080 rad' in update.message


def test_an_arm_that_comes_far_too_late_is_no_collision():
    run = Run(two_phases())
    run.arm = lambda: run.execution.phase.arm.sample(0.4 * (run.now - run.begin))
    update = run.until_end()
    assert update.failure is Failure.MOTION_TIMEOUT
    assert 'behind its path' in update.message


def test_an_arm_that_never_begins_is_no_collision():
    run = Run(two_phases())
    run.cycle()
    run.stuck = run.arm()
    assert run.until_end().failure is Failure.MOTION_TIMEOUT


def test_servo_lag_is_no_collision():
    run = Run(two_phases())
    original = run.arm
    run.arm = lambda: run.execution.phase.arm.sample(max(0.0, run.now - run.begin - 0.3))
    for _ in range(45):
        assert run.cycle().failure is None
    run.arm = original
    assert run.until_end().finished


def test_marks_hold_the_arm_after_every_displacement():
    run = Run(two_phases())
    run.until_end()
    assert len(run.execution.marks) == 40
    stamps = [mark.stamp for mark in run.execution.marks]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] == pytest.approx(1.0, abs=0.1)


def test_stopping_holds_what_is_measured():
    run = Run(two_phases())
    for _ in range(10):
        run.cycle()
    path = run.execution.stop_path(Observed(run.now, np.full(6, 0.11), 0.0))
    np.testing.assert_array_equal(path.positions[-1], np.full(6, 0.11))


def test_stopping_without_fresh_states_holds_the_setpoint():
    run = Run(two_phases())
    for _ in range(26):
        run.cycle()
    path = run.execution.stop_path(Observed(run.now, np.zeros(6), 9.0))
    np.testing.assert_allclose(path.positions[-1], np.full(6, 0.8 * (run.now - run.begin)))


def there_and_back():
    """A path that ends where it starts."""
    there = np.linspace(0.0, 0.8, 51)[:, None] * np.ones(6)
    positions = np.concatenate([there, there[-2::-1]])
    times = np.linspace(0.0, 2.0, 101)
    path = JointPath(times, positions, marks=np.arange(1, 41) * 0.05)
    return MotionPlan((PlannedPhase(Phase.FOLLOW_TRAJECTORY, path),))


class Controller(Run):
    """An arm that follows the path at a pace of its own."""

    def __init__(self, plan, pace, **options):
        super().__init__(plan, own_pace=True, **options)
        self.pace = pace

    def arm(self):
        if self.stuck is not None:
            return self.stuck
        path = self.execution.phase.arm
        along = self.pace * max(0.0, self.now - self.begin)
        self.idle = along >= path.duration
        return path.sample(along)


@pytest.mark.parametrize('pace', [0.6, 1.0, 1.2])
def test_a_controller_with_its_own_pace_may_be_late_or_early(pace):
    run = Controller(there_and_back(), pace)
    assert run.until_end().finished
    assert run.now - 100.0 == pytest.approx(2.0 / pace, abs=0.1)
    assert len(run.execution.marks) == 40
    heights = [mark.joint_positions[0] for mark in run.execution.marks]
    # Every displacement is recorded where it was made: up to the top, then down again.
    np.testing.assert_allclose(heights[:20], np.arange(1, 21) * 0.04, atol=0.03)
    np.testing.assert_allclose(heights[20:], np.arange(19, -1, -1) * 0.04, atol=0.03)


def test_progress_of_such_a_controller_is_that_of_the_arm():
    run = Controller(there_and_back(), 0.5)
    for _ in range(52):
        run.cycle()
    assert run.execution.progress(run.now) == pytest.approx(0.25, abs=0.03)


def test_commands_that_are_taken_and_not_carried_out_are_noticed():
    """The driver swallows the return code of some commands: only the pose tells."""
    run = Controller(there_and_back(), 1.0, settings=ExecutionSettings(settle_timeout=1.0))
    run.cycle()
    run.stuck, run.idle = np.zeros(6), True
    update = run.until_end()
    assert update.failure is Failure.MOTION_TIMEOUT
    assert run.now - 100.0 < 2.0


def test_a_controller_that_never_says_it_is_idle_times_out():
    run = Controller(there_and_back(), 1.0, settings=ExecutionSettings(settle_timeout=1.0))
    original = run.arm

    def busy():
        position = original()
        run.idle = False
        return position

    run.arm = busy
    update = run.until_end()
    assert update.failure is Failure.MOTION_TIMEOUT
    assert 'not idle' in update.message


def test_an_arm_that_leaves_its_path_is_a_collision():
    run = Controller(there_and_back(), 1.0)
    for _ in range(20):
        run.cycle()
    run.stuck = run.arm() + np.array([0.6, 0.0, 0.0, 0.0, 0.0, 0.0])
    run.idle = False
    update = run.until_end()
    assert update.failure is Failure.COLLISION
    assert 'off its path' in update.message


def test_braking_goes_on_along_the_path():
    run = Run(two_phases())
    for _ in range(20):
        run.cycle()
    path = run.execution.brake_path(Observed(run.now, run.arm(), 0.0))
    np.testing.assert_allclose(path.positions[0], run.arm(), atol=1e-9)
    ahead = path.positions[-1] - path.positions[0]
    # Half of what the pace of 0.8 rad/s would have made in the time of the braking.
    np.testing.assert_allclose(ahead, 0.5 * 0.8 * path.duration, atol=1e-6)
