# SPDX-License-Identifier: Apache-2.0
"""What every policy promises, what each is there for, and which one is deployed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deft_cem.policies.choice import KINDS, PolicySettings, choose_policy
from deft_cem.policies.conditional_vae import Direct, ResidualVae, VaeSettings, wrap_wrist
from deft_cem.policies.constants import EliteMean, Recommendation
from deft_cem.policies.interface import PracticeData
from deft_cem.policies.mlp import Mlp, MlpSettings
from deft_cem.policies.transformer import Transformer, TransformerSettings
from deft_core.errors import ConfigurationError, TrainingError

METHODS = {
    'residual_vae': ResidualVae(VaeSettings(steps=40)),
    'mlp': Mlp(MlpSettings(steps=40)),
    'transformer': Transformer(TransformerSettings(steps=15)),
    'direct': Direct(VaeSettings(steps=40)),
    'elite_mean': EliteMean(),
    'recommendation': Recommendation(),
}
QUICK = PolicySettings(
    vae=VaeSettings(steps=100),
    mlp=MlpSettings(steps=100),
    transformer=TransformerSettings(steps=10),
)


def best_three(residual: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Stands for an optimiser."""
    return residual[np.argsort(-reward, kind='stable')[:3]].mean(axis=0)


def practice(count: int = 14, elites: int = 6, size: int = 3, seed: int = 0) -> PracticeData:
    rng = np.random.default_rng(seed)
    reward = rng.uniform(0.0, 1.0, count)
    return PracticeData(
        condition=rng.standard_normal((count, size)),
        prior=rng.standard_normal((count, 22)),
        residual=rng.standard_normal((count, 22)),
        reward=reward,
        elites=np.argsort(-reward)[:elites],
        euler_period=np.full(3, 10.0 * np.pi),
        recommend=best_three,
    )


def sloped(slope: float, seed: int, count: int = 30) -> PracticeData:
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
        recommend=best_three,
    )


def test_all_kinds_are_tested_and_named_alike() -> None:
    assert set(METHODS) == set(KINDS)
    for kind, method in METHODS.items():
        assert method.kind == kind
        assert isinstance(method.settings, KINDS[kind][0])
        assert KINDS[kind][1](method.settings) == method


@pytest.mark.parametrize('method', METHODS.values(), ids=METHODS)
class TestEveryPolicy:
    def test_it_predicts_finite_residuals_and_its_errors_are_per_elite(self, method) -> None:
        data = practice()
        fit = method.fit(data, np.random.default_rng(0))
        assert fit.left_out.shape == (6,)
        assert fit.error == fit.left_out.mean() > 0.0
        predicted = method.predict(
            fit.tensors, data.condition[0], data.prior[0], np.random.default_rng(1)
        )
        assert predicted.shape == (22,)
        assert predicted.dtype == np.float64
        assert np.all(np.isfinite(predicted))

    def test_equal_generators_give_equal_policies(self, method) -> None:
        before = torch.random.get_rng_state()
        first, second = (method.fit(practice(), np.random.default_rng(5)) for _ in range(2))
        assert torch.equal(before, torch.random.get_rng_state())
        np.testing.assert_array_equal(first.left_out, second.left_out)
        for name, values in first.tensors.items():
            np.testing.assert_array_equal(values, second.tensors[name])

    def test_tensors_have_the_announced_shapes(self, method) -> None:
        tensors = method.fit(practice(), np.random.default_rng(0)).tensors
        assert {n: list(v.shape) for n, v in tensors.items()} == method.shapes(3)
        assert all(v.dtype == np.float64 for v in tensors.values())

    def test_a_left_out_elite_has_no_say_in_its_own_prediction(self, method) -> None:
        """Moving an elite far away changes its own error by that alone."""
        data, far = practice(), practice()
        row = far.elites[2]
        # A shift that a prediction without this elite cannot follow.
        far.residual[row] = data.residual[row] + 1000.0
        near, distant = (method.fit(d, np.random.default_rng(0)).left_out for d in (data, far))
        offset = np.sqrt(distant[2]) - 1000.0
        assert abs(offset) < 3.0 * np.sqrt(near[2]) + 1.0

    def test_few_elites_equal_elites_and_no_condition_are_fine(self, method) -> None:
        for data in (practice(elites=3), practice(size=0)):
            assert np.isfinite(method.fit(data, np.random.default_rng(0)).error)
        data = practice()
        same = replace(
            data,
            residual=np.tile(data.residual[:1], (14, 1)),
            prior=np.tile(data.prior[:1], (14, 1)),
            reward=np.ones(14),
        )
        fit = method.fit(same, np.random.default_rng(0))
        rng = np.random.default_rng(0)
        predicted = method.predict(fit.tensors, np.zeros(3), data.prior[0], rng)
        np.testing.assert_allclose(predicted, data.residual[0], atol=0.05)


def test_tables_that_do_not_fit_are_refused() -> None:
    data = practice()
    for change in (
        {'elites': data.elites[:2]},
        {'reward': data.reward[:-1]},
        {'condition': data.condition * np.nan},
        {'residual': data.residual[:, :3]},
        {'prior': data.prior[:5]},
    ):
        with pytest.raises(TrainingError):
            replace(data, **change)


def test_transformer_gives_what_earned_the_highest_reward() -> None:
    """Residuals are a function of the reward they earned: asking for the best picks an end."""
    rng = np.random.default_rng(1)
    reward = rng.uniform(0.0, 1.0, 40)
    direction = np.ones(22)
    data = replace(
        practice(count=40, elites=10),
        reward=reward,
        elites=np.argsort(-reward)[:10],
        residual=(4.0 * reward - 2.0)[:, None] * direction + 0.1 * rng.standard_normal((40, 22)),
    )
    settings = TransformerSettings(steps=150, noise_ratio=0.2, learning_rate=0.01)
    method, rng = Transformer(settings), np.random.default_rng(0)
    tensors = method.fit(data, rng).tensors
    answer = np.mean(method.predict(tensors, np.zeros(3), np.zeros(22), rng))
    assert answer > 1.3
    mean = np.mean(data.residual)
    assert abs(mean) < 0.5
    assert tensors['asked_reward'] == reward.max()
    with pytest.raises(ConfigurationError, match='multiple of heads'):
        TransformerSettings(width=15, heads=2)


def test_direct_learns_a_grasp_and_not_a_residual() -> None:
    """The grasps that worked are all the same place; the priors are scattered around it."""
    rng = np.random.default_rng(2)
    data = practice(count=12, elites=10)
    grasp = rng.standard_normal(22)
    data = replace(data, residual=grasp - data.prior)
    method = Direct(VaeSettings(steps=100))
    direct = method.fit(data, np.random.default_rng(0))
    assert direct.error < 1e-2 < EliteMean().fit(data, rng).error
    prior = rng.standard_normal(22)
    answer = method.predict(direct.tensors, np.zeros(3), prior, np.random.default_rng(0))
    np.testing.assert_allclose(prior + answer, grasp, atol=0.1)


def test_direct_sees_no_jump_where_an_angle_wraps() -> None:
    data = practice(count=12, elites=10)
    turned = replace(data, prior=data.prior.copy())
    turned.prior[::2, 4] += data.euler_period[1]
    plain, wrapped = (
        Direct(VaeSettings(steps=30)).fit(d, np.random.default_rng(0)) for d in (data, turned)
    )
    assert wrapped.error == pytest.approx(plain.error, rel=1e-6)
    period = np.full(3, 2.0)
    close = wrap_wrist(np.full(22, 5.0), np.zeros(22), period)
    np.testing.assert_allclose(close[3:6], 1.0)
    np.testing.assert_allclose(np.delete(close, [3, 4, 5]), 5.0)


def test_the_constants_are_the_mean_of_the_elites_and_what_the_optimiser_recommends() -> None:
    data, rng = practice(), np.random.default_rng(0)
    mean, recommended = (method.fit(data, rng) for method in (EliteMean(), Recommendation()))
    np.testing.assert_allclose(mean.tensors['residual'], data.elite_residual.mean(axis=0))
    np.testing.assert_allclose(
        recommended.tensors['residual'], best_three(data.residual, data.reward)
    )
    best = data.elites[0]
    others = best_three(np.delete(data.residual, best, 0), np.delete(data.reward, best))
    assert recommended.left_out[0] == pytest.approx(np.mean((others - data.residual[best]) ** 2))


def test_where_the_scene_matters_a_conditional_policy_is_deployed() -> None:
    for seed in range(3):
        choice = choose_policy(sloped(1.0, seed), QUICK, seed=seed)
        assert choice.kind not in ('elite_mean', 'recommendation')
        assert choice.r2(choice.kind) > 0.1
        assert 'predicts left-out elites' in choice.reason


@pytest.mark.parametrize('kind', ['residual_vae', 'mlp'])
def test_where_it_matters_each_named_method_passes_the_gate(kind: str) -> None:
    choice = choose_policy(sloped(1.5, 0), replace(QUICK, method=kind), seed=0)
    assert choice.kind == kind
    assert set(choice.fits) == {kind, 'elite_mean', 'recommendation'}


def test_where_it_does_not_the_recommendation_is_deployed_unless_the_gate_is_off() -> None:
    """Noise may look like structure, but not most of the time."""
    settings = replace(QUICK, method='mlp', mlp=MlpSettings(steps=40))
    choices = [choose_policy(sloped(0.0, seed), settings, seed=0) for seed in range(30)]
    assert [choice.kind for choice in choices].count('recommendation') > 25
    seed = next(seed for seed, choice in enumerate(choices) if choice.kind == 'recommendation')
    assert 'so the recommendation is deployed' in choices[seed].reason
    forced = choose_policy(sloped(0.0, seed), replace(settings, gate=False), seed=0)
    assert forced.kind == 'mlp'
    assert 'the gate is off' in forced.reason
    np.testing.assert_array_equal(forced.fits['mlp'].left_out, choices[seed].fits['mlp'].left_out)


def test_auto_reports_every_candidate_best_first_and_a_failure_by_name() -> None:
    settings = replace(
        QUICK, candidates=('mlp', 'direct'), vae=VaeSettings(kl_weight=0.0, steps=10)
    )
    data = sloped(1.0, 0)
    rows = choose_policy(data, settings, seed=0).candidates()
    assert {row['kind'] for row in rows} == {'mlp', 'direct', 'elite_mean', 'recommendation'}
    errors = [row['left_out_error'] for row in rows]
    assert errors == sorted(errors)
    far = replace(data, prior=data.prior * 1e200)  # only direct looks at the prior itself
    rows = choose_policy(far, settings, seed=0).candidates()
    assert 'diverged' in next(row for row in rows if row['kind'] == 'direct')['failure']
    with pytest.raises(TrainingError, match='diverged'):
        choose_policy(far, replace(settings, method='direct'), seed=0)


def test_a_constant_can_be_asked_for_and_equal_elites_are_no_division_by_zero() -> None:
    data = sloped(0.0, 0)
    for kind in ('elite_mean', 'recommendation'):
        choice = choose_policy(data, replace(QUICK, method=kind), seed=0)
        assert (choice.kind, choice.reason) == (kind, f'{kind} was asked for')
    same = replace(data, residual=np.ones((30, 22)))
    choice = choose_policy(same, replace(QUICK, method='mlp'), seed=0)
    assert (choice.kind, choice.r2('mlp')) == ('recommendation', 0.0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'method': 'residual_va'}, 'residual_vae'),
        ({'encoder': 'r3m'}, 'encoder'),
        ({'candidates': ('elite_mean',)}, 'candidates'),
        ({'candidates': ('mlp', 'mlp')}, 'twice'),
    ],
)
def test_unknown_names_are_refused(change, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PolicySettings(**change)
