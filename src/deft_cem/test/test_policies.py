# SPDX-License-Identifier: Apache-2.0
"""What every policy promises, and what each is there for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deft_cem.policies.conditional_vae import VaeSettings
from deft_cem.policies.direct import Direct, wrap_wrist
from deft_cem.policies.elite_mean import EliteMean
from deft_cem.policies.interface import PracticeData
from deft_cem.policies.mlp import Mlp, MlpSettings
from deft_cem.policies.registry import KINDS
from deft_cem.policies.residual_vae import ResidualVae
from deft_cem.policies.ridge import Ridge, RidgeSettings
from deft_cem.policies.transformer import Transformer, TransformerSettings
from deft_core.errors import ConfigurationError, TrainingError

METHODS = {
    'residual_vae': ResidualVae(VaeSettings(steps=40)),
    'ridge': Ridge(),
    'mlp': Mlp(MlpSettings(steps=40)),
    'transformer': Transformer(TransformerSettings(steps=15)),
    'direct': Direct(VaeSettings(steps=40)),
    'elite_mean': EliteMean(),
}


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
        predicted = fit.model.predict(data.condition[0], data.prior[0], np.random.default_rng(1))
        assert predicted.shape == (22,)
        assert predicted.dtype == np.float64
        assert np.all(np.isfinite(predicted))

    def test_equal_generators_give_equal_policies(self, method) -> None:
        before = torch.random.get_rng_state()
        first, second = (method.fit(practice(), np.random.default_rng(5)) for _ in range(2))
        assert torch.equal(before, torch.random.get_rng_state())
        np.testing.assert_array_equal(first.left_out, second.left_out)
        for name, values in first.model.tensors().items():
            np.testing.assert_array_equal(values, second.model.tensors()[name])

    def test_tensors_have_the_announced_shapes_and_bring_the_policy_back(self, method) -> None:
        data = practice()
        model = method.fit(data, np.random.default_rng(0)).model
        tensors = model.tensors()
        assert {n: list(v.shape) for n, v in tensors.items()} == method.shapes(3)
        assert all(v.dtype == np.float64 for v in tensors.values())
        restored = method.restore(tensors)
        for row in range(3):
            answers = [
                m.predict(data.condition[row], data.prior[row], np.random.default_rng(row))
                for m in (model, restored)
            ]
            np.testing.assert_array_equal(*answers)

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
        predicted = fit.model.predict(np.zeros(3), data.prior[0], np.random.default_rng(0))
        np.testing.assert_allclose(predicted, data.residual[0], atol=0.05)


def test_tables_that_do_not_fit_are_refused() -> None:
    data = practice()
    for change in (
        {'elites': data.elites[:1]},
        {'reward': data.reward[:-1]},
        {'condition': data.condition * np.nan},
        {'residual': data.residual[:, :3]},
        {'prior': data.prior[:5]},
    ):
        with pytest.raises(TrainingError):
            replace(data, **change)


@given(st.integers(0, 9))
def test_without_an_episode_the_others_keep_their_places(row: int) -> None:
    data = practice(count=10, elites=4)
    rest = data.without(row)
    expected = [data.residual[e] for e in data.elites if e != row]
    np.testing.assert_array_equal(rest.elite_residual, expected)
    assert len(rest.reward) == 9


def test_ridge_is_least_squares_without_penalty_and_the_mean_with_a_large_one() -> None:
    rng = np.random.default_rng(3)
    data = practice(count=10, elites=10, size=2)
    slope = rng.standard_normal((2, 22))
    data = replace(data, residual=1.0 + data.condition @ slope)
    rng = np.random.default_rng(0)
    model = Ridge(RidgeSettings(penalty=1e-6)).fit(data, rng).model
    for c in np.eye(2):
        np.testing.assert_allclose(model.predict(c, np.zeros(22), rng), 1.0 + c @ slope, atol=1e-4)
    shrunk = Ridge(RidgeSettings(penalty=1e9)).fit(data, rng).model
    np.testing.assert_allclose(
        shrunk.predict(np.ones(2), np.zeros(22), rng), data.elite_residual.mean(axis=0), atol=1e-5
    )


def test_ridge_leave_one_out_agrees_with_the_closed_form() -> None:
    """With a fixed centre the left-out error is e / (1 - h); the mean shifts too, so: by hand."""
    data = practice(count=8, elites=8, size=2)
    fit = Ridge(RidgeSettings(penalty=3.0)).fit(data, np.random.default_rng(0))
    for place, row in enumerate(data.elites):
        kept = np.delete(np.arange(8), row)
        x = np.column_stack([np.ones(7), data.condition[kept]])
        penalty = np.diag([0.0, 3.0, 3.0])
        beta = np.linalg.solve(x.T @ x + penalty, x.T @ data.residual[kept])
        error = np.concatenate([[1.0], data.condition[row]]) @ beta - data.residual[row]
        assert fit.left_out[place] == pytest.approx(np.mean(error**2))


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
    model = Transformer(settings).fit(data, np.random.default_rng(0)).model
    answer = np.mean(model.predict(np.zeros(3), np.zeros(22), np.random.default_rng(0)))
    assert answer > 1.3
    mean = np.mean(data.residual)
    assert abs(mean) < 0.5
    assert model.tensors()['asked_reward'] == reward.max()
    with pytest.raises(ConfigurationError, match='multiple of heads'):
        TransformerSettings(width=15, heads=2)


def test_direct_learns_a_grasp_and_not_a_residual() -> None:
    """The grasps that worked are all the same place; the priors are scattered around it."""
    rng = np.random.default_rng(2)
    data = practice(count=12, elites=10)
    grasp = rng.standard_normal(22)
    data = replace(data, residual=grasp - data.prior)
    direct = Direct(VaeSettings(steps=100)).fit(data, np.random.default_rng(0))
    assert direct.error < 1e-2 < EliteMean().fit(data, rng).error
    prior = rng.standard_normal(22)
    answer = direct.model.predict(np.zeros(3), prior, np.random.default_rng(0))
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
