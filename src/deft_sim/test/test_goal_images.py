# SPDX-License-Identifier: Apache-2.0
"""The anchors of the visual rewards are pictures of the simulated demonstration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_cem.rewards.encoders import make_reward_encoder
from deft_cem.rewards.goal_images import default_paths, load_image
from deft_cem.rewards.visual import GoalDistance
from deft_core.configuration import config_directory
from deft_sim.commands import record_goal_images


@pytest.fixture(scope='module')
def folder(offscreen: None, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('goals')
    assert record_goal_images.main(['--output', str(path)]) == 0
    return path


def test_the_demonstration_ends_elsewhere_than_it_began(folder: Path) -> None:
    start, goal = (load_image(folder / f'pick_cup_{name}.jpg') for name in ('start', 'goal'))
    assert start.shape == goal.shape == (480, 640, 3)
    changed = np.abs(start.astype(int) - goal.astype(int)).max(axis=2) > 30
    assert 0.03 < changed.mean() < 0.5  # hand, arm and cup; not the whole scene


def test_the_shipped_anchors_show_what_the_simulator_shows(folder: Path) -> None:
    """Otherwise record them again: `python -m deft_sim.commands.record_goal_images`."""
    goal_path, start_path = default_paths('pick_cup', config_directory())
    encoder = make_reward_encoder('gradient_color_1')
    shipped = GoalDistance(encoder, load_image(goal_path), load_image(start_path))
    assert shipped.distance(load_image(folder / 'pick_cup_goal.jpg')) < 0.5 * shipped.span
    drift = shipped.distance(load_image(folder / 'pick_cup_start.jpg')) - shipped.span
    assert abs(drift) < 0.1 * shipped.span


def test_a_missing_folder_is_said(tmp_path: Path, capsys) -> None:
    assert record_goal_images.main(['--output', str(tmp_path / 'nowhere')]) == 2
    assert 'no folder' in capsys.readouterr().err
