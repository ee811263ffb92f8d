# SPDX-License-Identifier: Apache-2.0
"""Practice of several sessions: joined where it fits, refused by name where it does not."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from deft_cem.bag_parts import part_file
from deft_cem.bag_reader import EPISODE_TOPIC, EPISODE_TYPE
from deft_cem.bag_writer import BagWriter
from deft_cem.commands import train
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE
from deft_cem.practice_set import PracticeSet, read_practice
from deft_cem.session_bag import SessionBag
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError, RecordingError, TrainingError
from deft_core.grasp import GraspParameters


@pytest.fixture
def runs(records, tmp_path: Path) -> list[Path]:
    """Two run folders of six practice episodes and a trial each."""
    folders = []
    for seed in (0, 1):
        episodes = [records.make_episode(i, seed=seed, reward=i / 6) for i in range(6)]
        episodes.append(records.make_episode(6, seed=seed, phase=Phase.EVALUATE_POLICY))
        records.write_bag(tmp_path / f'run{seed}' / 'bag', episodes)
        folders.append(tmp_path / f'run{seed}')
    return folders


def run_train(*words: object) -> int:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return train.main(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    path = tmp_path / 'learning.yaml'
    path.write_text('elites: 5\npolicy: {method: residual_vae, gate: false, vae: {steps: 10}}\n')
    return path


def test_practice_is_joined_in_order_and_trials_are_left_out(runs) -> None:
    practice, truncated = read_practice(runs)
    assert [e.episode_id for e in practice.episodes] == [
        f'test-{seed}-{i:03d}' for seed in (0, 1) for i in range(6)
    ]
    assert not truncated
    assert practice.source == f'{runs[0]}, {runs[1]}'


def test_a_bag_folder_and_a_file_serve_as_well_as_a_run(runs) -> None:
    expected = [e.episode_id for e in read_practice([runs[0]])[0].episodes]
    for path in (runs[0] / 'bag', runs[0] / 'bag' / part_file(0)):
        assert [e.episode_id for e in read_practice([path])[0].episodes] == expected


def test_a_cut_bag_gives_what_is_whole(records, runs, tmp_path: Path) -> None:
    bag = SessionBag(tmp_path / 'cut' / 'bag', records.typestore)
    bag.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
    for index in range(4):
        bag.record_episode(records.cdr(records.record_of(records.make_episode(index, seed=7))), 0)
    file = tmp_path / 'cut' / 'bag' / part_file(0)
    file.write_bytes(file.read_bytes()[:-3000])  # in the middle of the last episode
    practice, truncated = read_practice([runs[0], tmp_path / 'cut'])
    assert truncated
    assert [e.episode_id for e in practice.episodes[6:]] == [f'test-7-00{i}' for i in range(3)]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'task': 'pour_cup'}, r'mixes tasks with .*run0: test-7-001 \(pour_cup\)'),
        ({'calibration_id': 'moved'}, r'mixes camera calibrations .* test-7-001 \(moved\)'),
        (
            {'executed': GraspParameters([0.4, 0, 0.1], [0, 0, 0], [0.0] * 16, 'world')},
            r'mixes frames .* test-7-001 \(world\)',
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(records, runs, tmp_path, changes, message) -> None:
    odd = [records.make_episode(0, seed=7), records.make_episode(1, seed=7, **changes)]
    records.write_bag(tmp_path / 'odd' / 'bag', odd)
    with pytest.raises(TrainingError, match=message):
        read_practice([runs[0], tmp_path / 'odd'])


def test_a_recording_that_mixes_tasks_by_itself_is_refused(records) -> None:
    tasks = ['pick_cup', *['pour_cup'] * 5]
    mixed = [records.make_episode(i, task=task) for i, task in enumerate(tasks)]
    with pytest.raises(TrainingError, match=r'the replay mixes tasks: test-0-001 .* and 2 more'):
        PracticeSet().add(mixed, 'the replay')


def test_another_hand_is_refused_by_the_names_of_its_joints(records, tmp_path) -> None:
    record = records.record_of(records.make_episode(0))
    record.residual.joint_names = [f'leap_{i}' for i in range(16)]
    with BagWriter(tmp_path / 'bag', records.typestore) as writer:
        writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
        writer.write(EPISODE_TOPIC, records.cdr(record), 0)
    with pytest.raises(RecordingError, match=r"'test-0-000' is not usable: .*leap_0"):
        read_practice([tmp_path])


def test_a_session_named_twice_is_refused_and_nothing_is_added(runs) -> None:
    with pytest.raises(TrainingError, match=r'test-0-000 is in .*name every session once'):
        read_practice([*runs, runs[0]])
    practice = PracticeSet()
    practice.add_run(runs[0])
    with pytest.raises(TrainingError):
        practice.add_run(runs[0])
    assert len(practice.episodes) == 6
    with pytest.raises(RecordingError, match='no run was named'):
        read_practice([])


def test_one_run_by_any_name_gives_equal_files(runs, quick, tmp_path: Path) -> None:
    """Where the episodes come from is not part of a policy, nor whether the bag was closed."""
    output = tmp_path / 'elsewhere' / 'policy'
    assert run_train(runs[0], '--settings', quick) == 0
    file = runs[0] / 'bag' / part_file(0)
    file.write_bytes(file.read_bytes()[:-20])
    assert run_train(file, '--settings', quick, '--output', output) == 0
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (runs[0] / name).read_bytes() == (output / name).read_bytes()


def test_the_command_joins_runs_into_a_folder_of_their_own(runs, quick, tmp_path, capsys) -> None:
    with pytest.raises(ConfigurationError, match='--output'):
        run_train(*runs, '--settings', quick)
    assert run_train(*runs, '--settings', quick, '--output', tmp_path / 'joined') == 0
    assert 'trained on 5 elites of 12 episodes' in capsys.readouterr().out
    details = json.loads((tmp_path / 'joined' / CONFIG_FILE).read_text())['details']
    assert {name[:6] for name in details['elite_episodes']} == {'test-0', 'test-1'}
    assert not (runs[0] / CONFIG_FILE).exists()
    with pytest.raises(ConfigurationError, match='--output'):
        run_train(runs[0] / 'bag', '--settings', quick)
    with pytest.raises(ConfigurationError, match='cannot be made'):
        run_train(runs[0], '--settings', quick, '--output', quick)
