# SPDX-License-Identifier: Apache-2.0
"""`deft train`: one run or several, the same files from the same episodes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from deft_cem.commands import train
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE
from deft_core.errors import ConfigurationError


@pytest.fixture
def runs(records, tmp_path: Path) -> list[Path]:
    """Two run folders of six practice episodes each."""
    folders = [tmp_path / f'run{seed}' for seed in (0, 1)]
    for seed, folder in enumerate(folders):
        episodes = [records.make_episode(i, seed=seed, reward=i / 6) for i in range(6)]
        records.write_bag(folder / 'bag', episodes)
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


def test_one_run_by_any_name_gives_equal_files(runs, quick, tmp_path: Path) -> None:
    """Where the episodes come from is not part of a policy."""
    output = tmp_path / 'elsewhere' / 'policy'
    assert run_train(runs[0], '--settings', quick) == 0
    assert run_train(runs[0] / 'bag', '--settings', quick, '--output', output) == 0
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
