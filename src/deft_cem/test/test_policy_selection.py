# SPDX-License-Identifier: Apache-2.0
"""Which policy is deployed: the gate on data where the scene matters, and where it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deft_cem.policies.conditional_vae import VaeSettings
from deft_cem.policies.interface import PracticeData
from deft_cem.policies.mlp import MlpSettings
from deft_cem.policies.selection import choose_policy
from deft_cem.policies.settings import METHODS, PolicySettings
from deft_cem.policies.transformer import TransformerSettings
from deft_core.errors import ConfigurationError, TrainingError

QUICK = PolicySettings(
    vae=VaeSettings(steps=100),
    mlp=MlpSettings(steps=100),
    transformer=TransformerSettings(steps=10),
)


def practice(slope: float, seed: int, count: int = 30) -> PracticeData:
    """Best residuals move with the condition by `slope` first spreads; 10 elites."""
    rng = np.random.default_rng(seed)
    condition = rng.uniform(-1.7, 1.7, (count, 3))
    directions = rng.standard_normal((2, 22))
    residual = slope * condition[:, :2] @ directions + 0.7 * rng.standard_normal((count, 22))
    return PracticeData(
        condition=condition,
        prior=rng.standard_normal((count, 22)),
        residual=residual,
        reward=np.linspace(1.0, 0.2, count),
        elites=np.arange(10),
        euler_period=np.full(3, 10.0 * np.pi),
    )


def test_where_the_scene_matters_a_conditional_policy_is_deployed() -> None:
    for seed in range(3):
        choice = choose_policy(practice(1.0, seed), QUICK, seed=seed)
        assert choice.method.kind != 'elite_mean'
        assert choice.skill > 0.1
        assert 'predicts left-out elites' in choice.reason


@pytest.mark.parametrize('kind', ['residual_vae', 'mlp', 'ridge'])
def test_where_it_matters_each_named_method_passes_the_gate(kind: str) -> None:
    choice = choose_policy(practice(1.5, 0), replace(QUICK, method=kind), seed=0)
    assert choice.method.kind == kind
    assert set(choice.fits) == {kind, 'elite_mean'}


def test_where_it_does_not_the_mean_is_deployed() -> None:
    """Noise may look like structure, but not most of the time."""
    deployed = [
        choose_policy(practice(0.0, seed), replace(QUICK, method='ridge'), seed=0).method.kind
        for seed in range(100)
    ]
    assert deployed.count('elite_mean') > 60


def test_the_gate_holds_back_what_predicts_worse_and_can_be_opened() -> None:
    seed = next(
        s
        for s in range(50)
        if choose_policy(practice(0.0, s), replace(QUICK, method='mlp'), seed=0).skill == 0.0
    )
    data = practice(0.0, seed)
    held = choose_policy(data, replace(QUICK, method='mlp'), seed=0)
    assert held.method.kind == 'elite_mean'
    assert 'the mean is deployed' in held.reason
    assert 'mlp' in held.reason
    forced = choose_policy(data, replace(QUICK, method='mlp', gate=False), seed=0)
    assert forced.method.kind == 'mlp'
    assert forced.skill < 0.0
    assert 'the gate is off' in forced.reason
    np.testing.assert_array_equal(forced.fit.left_out, held.fits['mlp'].left_out)


def test_auto_reports_every_candidate_best_first_and_a_failure_by_name() -> None:
    settings = replace(
        QUICK, candidates=('ridge', 'mlp', 'direct'), vae=VaeSettings(kl_weight=0.0, steps=10)
    )
    data = practice(1.0, 0)
    rows = choose_policy(data, settings, seed=0).candidates()
    assert {row['kind'] for row in rows} == {'ridge', 'mlp', 'direct', 'elite_mean'}
    errors = [row['left_out_error'] for row in rows]
    assert errors == sorted(errors)
    far = replace(data, prior=data.prior * 1e200)  # only direct looks at the prior itself
    rows = choose_policy(far, settings, seed=0).candidates()
    assert 'diverged' in next(row for row in rows if row['kind'] == 'direct')['failure']
    with pytest.raises(TrainingError, match='diverged'):
        choose_policy(far, replace(settings, method='direct'), seed=0)


def test_a_method_gives_the_same_policy_alone_and_among_others() -> None:
    data = practice(1.0, 0)
    alone = choose_policy(data, replace(QUICK, method='mlp'), seed=4).fits['mlp']
    among = choose_policy(data, replace(QUICK, candidates=('ridge', 'mlp')), seed=4).fits['mlp']
    np.testing.assert_array_equal(alone.left_out, among.left_out)


def test_the_mean_can_be_asked_for_and_equal_elites_are_no_division_by_zero() -> None:
    data = practice(0.0, 0)
    choice = choose_policy(data, replace(QUICK, method='elite_mean'), seed=0)
    assert (choice.method.kind, choice.reason) == ('elite_mean', 'elite_mean was asked for')
    same = replace(data, residual=np.ones((30, 22)))
    choice = choose_policy(same, replace(QUICK, method='ridge'), seed=0)
    assert (choice.method.kind, choice.skill) == ('elite_mean', 0.0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'method': 'residual_va'}, 'residual_vae'),
        ({'encoder': 'r3m'}, 'encoder'),
        ({'candidates': ('elite_mean',)}, 'candidates'),
        ({'candidates': ('ridge', 'ridge')}, 'twice'),
    ],
)
def test_unknown_names_are_refused(change, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PolicySettings(**change)
    assert PolicySettings().method == 'auto'
    assert 'elite_mean' in METHODS
