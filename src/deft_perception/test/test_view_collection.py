# SPDX-License-Identifier: Apache-2.0
"""When the calibration looks and where it moves next; and the postures and moves it uses."""

from __future__ import annotations

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.rotations import matrix_from_euler, transform
from deft_perception.calibration.collection import ArmPose, ViewCollection
from deft_perception.calibration.hand_eye import CalibrationView
from deft_perception.calibration.postures import load_postures, save_postures, straight_joint_move
from deft_perception.calibration.settings import CollectionSettings

SETTINGS = CollectionSettings(still_time=0.5)


def arm(stamp, *joints):
    """An arm whose flange turns about x with its first joint and shifts with the second."""
    return ArmPose(
        stamp, np.array(joints), transform(matrix_from_euler((joints[0], 0, 0)), [joints[1], 0, 0])
    )


def view(collection):
    resting = collection.resting_arm()
    return CalibrationView('', resting.joints, resting.T_base_flange, None, None)


def rest(collection, start, *joints, duration=1.0):
    for step in range(int(duration * 10) + 1):
        collection.update(arm(start + 0.1 * step, *joints))


def test_an_image_counts_only_after_the_arm_has_rested():
    collection = ViewCollection(3, None, SETTINGS)
    assert not collection.wants_image(100.0)
    for step in range(20):
        collection.update(arm(0.1 * step, 0.1 * step, 0.0))
    assert not collection.wants_image(2.0)
    rest(collection, 2.0, 1.9, 0.0)
    assert not collection.wants_image(2.2)
    assert collection.wants_image(2.5)


def test_a_slow_creep_is_no_rest():
    collection = ViewCollection(3, None, SETTINGS)
    for step in range(100):
        collection.update(arm(0.1 * step, 0.001 * step, 0.0))
        assert not collection.wants_image(0.1 * step)


def test_a_clock_that_begins_anew_is_a_new_rest():
    collection = ViewCollection(3, None, SETTINGS)
    rest(collection, 100.0, 0.0, 0.0)
    assert collection.wants_image(100.6)
    collection.update(arm(0.0, 0.0, 0.0))
    assert not collection.wants_image(100.6)
    rest(collection, 0.1, 0.0, 0.0)
    assert collection.wants_image(0.6)


def test_a_person_needs_a_new_pose_for_a_new_view():
    collection = ViewCollection(2, None, SETTINGS)
    rest(collection, 0.0, 0.0, 0.0)
    assert collection.wants_image(1.0)
    collection.add(view(collection), useful=True)
    assert not collection.wants_image(1.1)
    rest(collection, 2.0, 0.05, 0.02)
    assert not collection.wants_image(3.0)
    rest(collection, 4.0, 0.3, 0.02)
    assert collection.wants_image(5.0)
    collection.add(view(collection), useful=True)
    assert collection.finished
    assert not collection.wants_image(9.0)


def test_a_driven_arm_looks_where_it_was_sent():
    postures = np.array([[0.3, 0.1], [0.6, 0.2], [0.9, 0.3]])
    collection = ViewCollection(3, postures, SETTINGS)
    assert collection.next_posture() == pytest.approx(postures[0])
    assert collection.next_posture() is None
    rest(collection, 0.0, 0.0, 0.0)
    assert not collection.wants_image(1.0)
    assert collection.missed_by() == pytest.approx(0.3)
    rest(collection, 2.0, 0.3, 0.1)
    assert collection.wants_image(3.0)
    collection.add(None, useful=False)
    assert collection.next_posture() == pytest.approx(postures[1])
    rest(collection, 4.0, 0.6, 0.2)
    collection.add(view(collection), useful=False)
    assert (len(collection.views), collection.useful) == (1, 0)
    collection.next_posture()
    collection.add(None, useful=False)
    assert collection.finished
    assert collection.next_posture() is None


def test_postures_survive_their_file(tmp_path):
    wanted = np.array([[0.1, -0.2], [1.5, 3.0]])
    save_postures(tmp_path / 'postures' / 'mine.yaml', ('a', 'b'), wanted)
    found = load_postures('mine', tmp_path)
    assert found.joint_names == ('a', 'b')
    assert found.matrix() == pytest.approx(wanted)
    with pytest.raises(ConfigurationError, match="did you mean 'mine'"):
        load_postures('min', tmp_path)
    path = tmp_path / 'postures' / 'mine.yaml'
    path.write_text(path.read_text().replace('[1.5000, 3.0000]', '[1.5]'))
    with pytest.raises(ConfigurationError, match='row 1 has 1 values'):
        load_postures('mine', tmp_path)
    with pytest.raises(InvalidInputError, match='finite'):
        save_postures(path, ('a', 'b'), [[0.0, np.nan]])


def test_a_move_starts_and_ends_at_rest_and_keeps_its_speed():
    times, positions = straight_joint_move([0.0, 1.0], [1.5, 0.5], speed=0.4)
    assert positions[0] == pytest.approx([0.0, 1.0])
    assert positions[-1] == pytest.approx([1.5, 0.5])
    speeds = np.abs(np.diff(positions, axis=0) / np.diff(times)[:, None])
    assert speeds.max() == pytest.approx(0.4, rel=0.01)
    assert speeds[[0, -1]].max() < 0.01
    times, _ = straight_joint_move([0.0], [0.0], speed=0.4, shortest=0.7)
    assert (times[0], times[-1]) == pytest.approx((0.0, 0.7))
    with pytest.raises(InvalidInputError, match='positive'):
        straight_joint_move([0.0], [1.0], speed=0.0)
    with pytest.raises(InvalidInputError, match='shape'):
        straight_joint_move([0.0], [1.0, 2.0], speed=1.0)
