# SPDX-License-Identifier: Apache-2.0
"""The simulated cell as its users see it, without pictures."""

from __future__ import annotations

import numpy as np
import pytest

from deft_arm.xarm.codes import COLLISIONS
from deft_core.errors import InvalidInputError, SafetyError
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import SimulationSettings
from deft_sim.objects.cups import LAYOUT_CENTRE, LAYOUT_HALF_EXTENTS
from deft_sim.tasks import SimulatedTask
from deft_sim.tasks.pick_cup import PickCup


def test_starts_at_home_with_the_object_where_layouts_put_it(
    cell: SimulatedCell, settings: SimulationSettings
) -> None:
    np.testing.assert_allclose(cell.arm_state().positions, settings.arm_home)
    offset = np.abs(cell.object_position()[:2] - LAYOUT_CENTRE)
    assert np.all(offset <= LAYOUT_HALF_EXTENTS)


def test_stays_at_rest(cell: SimulatedCell) -> None:
    before = cell.object_position()
    cell.advance(1.0)
    assert np.abs(cell.object_position() - before).max() < 5e-4
    assert np.abs(cell.arm_state().velocities).max() < 1e-3
    assert not cell.collided


def test_time_counts_steps_and_goes_on_over_resets(
    cell: SimulatedCell, settings: SimulationSettings
) -> None:
    cell.advance(0.25)
    assert cell.time == pytest.approx(0.25)
    assert cell.step_count == round(0.25 / settings.cell.physics.timestep)
    cell.reset_scene('blue_tumbler', 3)
    assert cell.time == pytest.approx(0.25)
    cell.advance(0.01)
    assert cell.time == pytest.approx(0.26)


def test_the_arm_follows_a_trajectory_closely(cell: SimulatedCell) -> None:
    start = cell.arm_state().positions
    end = start + np.array([0.5, 0.1, -0.2, 0.3, 0.2, -0.4])
    assert cell.follow_arm([1.0], [end])
    cell.advance(0.5)
    middle = cell.arm_state().positions
    np.testing.assert_allclose(middle, (start + end) / 2.0, atol=0.02)
    cell.advance(1.0)
    np.testing.assert_allclose(cell.arm_state().positions, end, atol=0.002)


def test_setpoints_respect_the_velocity_limit(
    cell: SimulatedCell, settings: SimulationSettings
) -> None:
    start = cell.arm_state().positions
    cell.follow_arm([0.01], [start + np.array([1.5, 0.0, 0.0, 0.0, 0.0, 0.0])])
    fastest = 0.0
    for _ in range(60):
        cell.advance(0.01)
        fastest = max(fastest, float(np.abs(cell.arm_state().velocities).max()))
    assert fastest < 1.15 * settings.cell.control.arm_velocity_limit


def test_the_emergency_stop_holds_the_arm(cell: SimulatedCell) -> None:
    start = cell.arm_state().positions
    cell.follow_arm([1.0], [start + np.array([0.8, 0.0, 0.0, 0.0, 0.0, 0.0])])
    cell.advance(0.3)
    cell.set_emergency_stop(True)
    stopped = cell.arm_state().positions
    cell.advance(1.0)
    assert np.abs(cell.arm_state().positions - stopped).max() < 0.06
    assert not cell.follow_arm([1.0], [start])
    cell.set_emergency_stop(False)
    assert cell.follow_arm([1.0], [start])
    cell.advance(1.3)
    np.testing.assert_allclose(cell.arm_state().positions, start, atol=0.005)


def drive_into_table(cell: SimulatedCell) -> None:
    """The wrist goes down on the table with the hand turned up."""
    cell.follow_arm([1.5], [[-0.8, 1.15, -1.1, 0.0, 2.4, 0.0]])
    cell.advance(2.0)


def test_hitting_the_table_stops_the_arm_and_scores_zero(cell: SimulatedCell) -> None:
    drive_into_table(cell)
    assert cell.collided
    assert cell.evaluate().score == 0.0
    assert 'collided' in cell.evaluate().explanation
    resting = cell.arm_state().positions
    cell.advance(0.5)
    assert np.abs(cell.arm_state().positions - resting).max() < 0.02


def test_after_a_collision_only_a_motion_from_where_the_arm_is_is_taken(
    cell: SimulatedCell, settings: SimulationSettings
) -> None:
    drive_into_table(cell)
    assert not cell.follow_arm([1.0], [settings.arm_home])
    here = cell.arm_state().positions
    assert cell.follow_arm([0.0, 2.0], [here, settings.arm_home])
    cell.advance(2.5)
    np.testing.assert_allclose(cell.arm_state().positions, settings.arm_home, atol=0.005)
    assert cell.collided
    cell.reset_scene('red_mug', 1)
    assert not cell.collided


def test_unknown_objects_and_negative_seeds_are_refused(cell: SimulatedCell) -> None:
    with pytest.raises(InvalidInputError, match=r"did you mean 'red_mug'"):
        cell.reset_scene('red_mog', 0)
    with pytest.raises(InvalidInputError, match='not be negative'):
        cell.reset_scene('red_mug', -1)
    assert cell.object_name == 'red_mug'


def test_a_robot_in_the_way_keeps_the_old_scene(cell: SimulatedCell) -> None:
    # Flange 0.30 m over the middle of the layout area, fingers down.
    cell.follow_arm([2.0], [[0.0, 0.271, -1.241, 0.0, 0.970, 0.0]])
    cell.advance(2.5)
    refused = False
    for seed in range(30):
        before = (cell.object_name, cell.object_position().tolist())
        try:
            cell.reset_scene('white_mug', seed)
        except SafetyError:
            refused = True
            assert (cell.object_name, cell.object_position().tolist()) == before
    assert refused


class Box:
    """A control box that only listens."""

    def __init__(self, home) -> None:
        self.home, self.errors = np.array(home), []

    def step(self, period, measured):
        return self.home

    def fail(self, error: int) -> None:
        self.errors.append(error)


def test_unstable_physics_is_an_error_of_the_arm_that_is_no_collision(
    settings: SimulationSettings, exploding: SimulatedTask
) -> None:
    """So that the session withdraws the episode; the clock goes on."""
    box = Box(settings.arm_home)
    cell = SimulatedCell(settings, exploding, arm=box)
    assert not cell.breakdown
    cell.advance(0.5)
    assert 'unstable' in cell.breakdown
    assert cell.evaluate().explanation == cell.breakdown
    assert cell.time == pytest.approx(0.5)
    assert not cell.collided
    np.testing.assert_allclose(cell.arm_state().positions, settings.arm_home, atol=0.01)
    assert len(box.errors) == 1
    assert box.errors[0] not in COLLISIONS
    cell.reset_scene('red_mug', 0, PickCup())
    cell.advance(0.5)
    assert not cell.breakdown
    assert cell.object_position()[2] == pytest.approx(0.0, abs=0.001)  # on the table, not through
