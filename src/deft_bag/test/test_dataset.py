# SPDX-License-Identifier: Apache-2.0
"""Practice of several sessions: joined where it fits, refused by name where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_bag.dataset import Dataset, read_dataset
from deft_bag.writer import EpisodeBag
from deft_core.episode import Phase
from deft_core.errors import RecordingError, TrainingError
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


def test_practice_is_joined_in_order_and_trials_are_left_out(runs) -> None:
    practice, damaged = read_dataset(runs)
    assert [e.episode_id for e in practice.episodes] == [
        f'test-{seed}-{i:03d}' for seed in (0, 1) for i in range(6)
    ]
    assert damaged == []
    assert practice.source == f'{runs[0]}, {runs[1]}'


def test_a_bag_folder_and_a_file_serve_as_well_as_a_run(runs) -> None:
    expected = [e.episode_id for e in read_dataset([runs[0]])[0].episodes]
    assert [e.episode_id for e in read_dataset([runs[0] / 'bag'])[0].episodes] == expected
    file = runs[0] / 'bag' / 'episode_0002.mcap'
    assert [e.episode_id for e in read_dataset([file])[0].episodes] == expected[2:3]


def test_a_cut_bag_gives_what_is_whole(records, runs) -> None:
    file = runs[1] / 'bag' / 'episode_0003.mcap'
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])  # in the middle of its episode
    practice, damaged = read_dataset(runs)
    assert [str(file) in sentence for sentence in damaged] == [True]
    assert [e.index for e in practice.episodes[6:]] == [0, 1, 2, 4, 5]


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
        read_dataset([runs[0], tmp_path / 'odd'])


def test_a_recording_that_mixes_tasks_by_itself_is_refused(records) -> None:
    tasks = ['pick_cup', *['pour_cup'] * 5]
    mixed = [records.make_episode(i, task=task) for i, task in enumerate(tasks)]
    with pytest.raises(TrainingError, match=r'the replay mixes tasks: test-0-001 .* and 2 more'):
        Dataset().add(mixed, 'the replay')


def test_another_hand_is_refused_by_the_names_of_its_joints(records, tmp_path) -> None:
    record = records.record_of(records.make_episode(0))
    record.residual.joint_names = [f'leap_{i}' for i in range(16)]
    EpisodeBag(tmp_path / 'bag').write_episode(0, records.cdr(record), 0)
    with pytest.raises(RecordingError, match=r"'test-0-000' is not usable: .*leap_0"):
        read_dataset([tmp_path])


def test_a_session_named_twice_is_refused_and_nothing_is_added(runs) -> None:
    with pytest.raises(TrainingError, match=r'test-0-000 is in .*name every session once'):
        read_dataset([*runs, runs[0]])
    practice = Dataset()
    practice.add_run(runs[0])
    with pytest.raises(TrainingError):
        practice.add_run(runs[0])
    assert len(practice.episodes) == 6
    with pytest.raises(RecordingError, match='no run was named'):
        read_dataset([])


def test_images_that_together_are_too_large_are_refused(runs, monkeypatch) -> None:
    monkeypatch.setattr('deft_bag.dataset._LARGEST', 10 * 48 * 64 * 3)
    assert len(read_dataset(runs[:1])[0].episodes) == 6
    with pytest.raises(TrainingError, match=r'run1 take more than .* fewer sessions'):
        read_dataset(runs)
