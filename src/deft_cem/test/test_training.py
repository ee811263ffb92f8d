# SPDX-License-Identifier: Apache-2.0
"""Bag to policy files and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_bag.dataset import read_dataset
from deft_cem.commands import train
from deft_cem.policies.choice import PolicySettings
from deft_cem.policies.conditional_vae import VaeSettings
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE, load_policy
from deft_cem.policies.training import TrainingReport, train_policy
from deft_cem.settings import LearningSettings, load_learning_settings
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError, RecordingError, TrainingError

QUICK = LearningSettings(
    elites=5,
    policy=PolicySettings(method='residual_vae', gate=False, vae=VaeSettings(steps=20)),
)


def train_run(run: Path, settings: LearningSettings, *, seed: int) -> TrainingReport:
    dataset, _ = read_dataset([run])
    return train_policy(dataset, run, settings, seed=seed)


@pytest.fixture
def run(records, tmp_path: Path) -> Path:
    """A run folder with twelve practice episodes and four trials."""
    episodes = [records.make_episode(i, reward=i / 12) for i in range(12)]
    episodes += [
        records.make_episode(12 + i, reward=0.9, phase=phase)
        for i, phase in enumerate([Phase.EVALUATE_POLICY] * 2 + [Phase.EVALUATE_PRIOR] * 2)
    ]
    records.write_bag(tmp_path / 'bag', episodes)
    return tmp_path


def test_training_takes_the_best_practice_episodes_and_nothing_else(records, run: Path) -> None:
    report = train_run(run, QUICK, seed=0)
    assert report.elite_ids == tuple(f'test-0-{i:03d}' for i in (11, 10, 9, 8, 7))
    config = json.loads((run / CONFIG_FILE).read_text())
    assert config['details']['practice_episodes'] == 12
    errors = config['details']['left_out_error']
    assert errors['r2'] == pytest.approx(1 - errors['deployed'] / errors['elite_mean'])
    assert config['kind'] == config['details']['method'] == 'residual_vae'
    assert 'left-out elites' in config['details']['reason']
    kinds = {row['kind'] for row in config['details']['candidates']}
    assert kinds == {'residual_vae', 'elite_mean', 'recommendation'}
    elite = [records.make_episode(i).residual.to_vector() for i in (11, 10, 9, 8, 7)]
    np.testing.assert_allclose(config['details']['elite_mean'], np.mean(elite, axis=0))


def test_a_saved_policy_predicts_like_the_trained_one(records, run: Path) -> None:
    policy = train_run(run, QUICK, seed=0).policy
    loaded = load_policy(run)
    episode = records.make_episode(40, seed=9)
    for _ in range(2):
        predicted = [
            p.predict(episode.first_image, episode.prior.grasp, np.random.default_rng(1))
            for p in (policy, loaded)
        ]
        np.testing.assert_array_equal(predicted[0].to_vector(), predicted[1].to_vector())
    assert np.all(np.isfinite(predicted[0].to_vector()))


def test_latent_mean_ignores_the_generator_and_sample_does_not(records, run: Path) -> None:
    episode = records.make_episode(0)

    def predictions(latent: str) -> list[np.ndarray]:
        vae = VaeSettings(steps=100, weight_penalty=0.1, noise_ratio=0.2, z=latent)
        settings = replace(QUICK, policy=replace(QUICK.policy, vae=vae))
        policy = train_run(run, settings, seed=0).policy
        return [
            policy.predict(
                episode.first_image, episode.prior.grasp, np.random.default_rng(seed)
            ).to_vector()
            for seed in (1, 2)
        ]

    first, second = predictions('mean')
    np.testing.assert_array_equal(first, second)
    first, second = predictions('sample')
    assert not np.array_equal(first, second)


def test_training_twice_gives_equal_bytes(run: Path) -> None:
    train_run(run, QUICK, seed=4)
    first = [(run / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE)]
    train_run(run, QUICK, seed=4)
    assert [(run / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE)] == first


def test_the_recommendation_is_that_of_the_optimiser_for_the_same_pairs(
    records, run: Path
) -> None:
    policy = PolicySettings(method='recommendation')
    report = train_run(run, replace(QUICK, policy=policy), seed=0)
    episodes = [records.make_episode(i) for i in range(12)]
    fit = QUICK.make_optimiser(seed=3).fit(
        np.stack([episode.residual.to_vector() for episode in episodes]),
        np.arange(12) / 12,
    )
    answer = load_policy(run).predict(
        episodes[3].first_image, episodes[3].prior.grasp, np.random.default_rng(0)
    )
    np.testing.assert_allclose(answer.to_vector(), fit.recommendation, rtol=1e-6)
    assert report.choice.reason == 'recommendation was asked for'


def test_too_few_or_mixed_episodes_are_refused(records, tmp_path: Path) -> None:
    few = [records.make_episode(i, reward=0.5 if i < 2 else None) for i in range(5)]
    records.write_bag(tmp_path / 'few' / 'bag', few)
    with pytest.raises(TrainingError, match='at least 3'):
        train_run(tmp_path / 'few', QUICK, seed=0)
    mixed = [records.make_episode(i, task='pick_cup' if i else 'pour_cup') for i in range(5)]
    records.write_bag(tmp_path / 'mixed' / 'bag', mixed)
    with pytest.raises(TrainingError, match='mixes tasks'):
        train_run(tmp_path / 'mixed', QUICK, seed=0)


def test_the_command_trains_and_refuses_in_one_sentence(run: Path, capsys) -> None:
    import argparse

    settings_file = run / 'learning.yaml'
    settings_file.write_text('elites: 4\npolicy: {vae: {steps: 10}, candidates: [residual_vae]}\n')
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    assert train.main(parser.parse_args([str(run), '--settings', str(settings_file)])) == 0
    printed = capsys.readouterr().out
    assert 'trained on 4 elites of 12 episodes' in printed
    assert 'residual_vae: left-out error' in printed
    assert 'deployed ' in printed
    with pytest.raises(RecordingError, match='no bag'):
        train.main(parser.parse_args([str(run / 'nowhere')]))
    with pytest.raises(ConfigurationError, match='--seed'):
        train.main(parser.parse_args([str(run), '--seed', '-1']))
    settings_file.write_text('elite: 4\n')
    with pytest.raises(ConfigurationError, match='elites'):
        train.main(parser.parse_args([str(run), '--settings', str(settings_file)]))


def test_shipped_settings_are_those_of_the_paper() -> None:
    settings = load_learning_settings()
    assert (settings.elites, settings.warm_up_episodes, settings.episodes) == (10, 10, 30)
    assert settings.initial_std.tolist() == [0.02] * 3 + [0.2] * 3 + [0.05] * 16
    assert settings.evaluation_trials == 10
