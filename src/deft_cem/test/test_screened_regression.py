# SPDX-License-Identifier: Apache-2.0
"""The default optimiser against its own equations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from deft_cem.optimisers.cem import initial_standard_deviation
from deft_cem.optimisers.screened_regression import (
    BowlProcess,
    ScreenedRegression,
    ScreenedRegressionSettings,
    regress_optimum,
    softmax_weights,
    standardised,
    synergy_basis,
)
from deft_core.errors import InvalidInputError
from deft_core.grasp import HAND_JOINT_NAMES

SIGMA = initial_standard_deviation()


def test_the_basis_closes_the_hand_and_turns_the_thumb_against_it() -> None:
    basis = synergy_basis(SIGMA)
    y = np.zeros(22)
    y[6] = 1.0
    np.testing.assert_allclose(basis.to_residual(y)[6:], 2.0 * 0.25 * 0.05)
    y = np.zeros(22)
    y[7] = 1.0
    joints = basis.to_residual(y)[6:]
    thumb = np.array([name.startswith('thumb') for name in HAND_JOINT_NAMES])
    assert np.ptp(joints[thumb]) < 1e-12
    assert np.ptp(joints[~thumb]) < 1e-12
    assert joints.sum() == pytest.approx(0.0)
    np.testing.assert_allclose(basis.to_residual(np.eye(22)[:6])[:, :6], np.diag(SIGMA[:6]))


def test_the_basis_is_orthogonal_and_keeps_the_budget_of_table_4() -> None:
    basis = synergy_basis(SIGMA)
    scale = np.concatenate([np.ones(6), [2.0, 2.0], np.full(14, 0.5)])
    np.testing.assert_allclose(basis.matrix.T @ basis.matrix, np.diag(scale**2), atol=1e-12)
    ratio = basis.marginal_std(1.0) / SIGMA
    np.testing.assert_allclose(ratio[:6], 1.0)
    np.testing.assert_allclose(ratio[6:18], 0.75, atol=0.005)
    np.testing.assert_allclose(ratio[18:], 1.09, atol=0.005)


@given(values=st.lists(st.floats(-5, 5), min_size=22, max_size=22))
@settings(deadline=None)
def test_search_coordinates_go_there_and_back(values) -> None:
    y = np.array(values)
    basis = synergy_basis(SIGMA)
    np.testing.assert_allclose(basis.to_search(basis.to_residual(y)), y, atol=1e-12)
    rows = np.stack([y, -y])
    np.testing.assert_allclose(basis.to_search(basis.to_residual(rows)), rows, atol=1e-12)


def test_a_basis_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match='22 grasp parameters'):
        synergy_basis(np.ones(7))
    with pytest.raises(InvalidInputError, match='> 0'):
        synergy_basis(SIGMA, damping=0.0)


def test_weights_follow_rewards_and_never_blow_up_noise() -> None:
    order, weights = softmax_weights(np.array([0.2, 0.9, 0.9, 0.1, 0.5]), 3)
    assert order == [1, 2, 4]
    spread = np.std([0.2, 0.9, 0.9, 0.1, 0.5])
    expected = np.exp(np.array([0.0, 0.0, -0.4]) / spread)
    np.testing.assert_allclose(weights, expected / expected.sum())
    _, even = softmax_weights(np.full(6, 0.4), 4)
    np.testing.assert_allclose(even, 0.25)
    _, nearly = softmax_weights(np.array([0.5, 0.501, 0.499]), 3)
    assert np.ptp(nearly) < 0.03


@settings(deadline=None, max_examples=40)
@given(count=st.integers(2, 40), seed=st.integers(0, 10_000))
def test_the_regressed_top_solves_the_ridge_problem(count: int, seed: int) -> None:
    """The primal normal equations, solved in another way."""
    rng = np.random.default_rng(seed)
    y, rewards = rng.standard_normal((count, 5)), rng.uniform(0, 1, count)
    ridge, curvature = 3.0, 0.8
    target = standardised(rewards) + curvature * (np.sum(y**2, axis=1) / 5 - 1)
    design = np.concatenate([y - y.mean(0), np.sqrt(ridge) * np.eye(5)])
    slope = np.linalg.lstsq(
        design, np.concatenate([target - target.mean(), np.zeros(5)]), rcond=None
    )[0]
    expected = 5 * slope / (2 * curvature)
    found = regress_optimum(y, rewards, ridge=ridge, curvature=curvature, radius=1e9)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    short = regress_optimum(y, rewards, ridge=ridge, curvature=curvature, radius=0.1)
    np.testing.assert_allclose(short, expected * min(1.0, 0.1 / np.linalg.norm(expected)))


def test_an_exact_quadratic_is_regressed_exactly() -> None:
    rng = np.random.default_rng(1)
    top = np.array([0.4, -0.3, 0.2])
    y = rng.standard_normal((60, 3))
    heights = 0.6 - 0.03 * np.sum((y - top) ** 2, axis=1)
    # The curvature that this bowl has once rewards are standardised.
    curvature = 0.03 * 3 / heights.std()
    found = regress_optimum(y, heights, ridge=1e-6, curvature=curvature, radius=9.0)
    np.testing.assert_allclose(found, top, atol=1e-5)


def test_failures_push_the_regression_and_not_the_elites() -> None:
    """What failed says where not to go: the same two successes, with other failures."""
    good = np.array([[0.5, 0.0], [0.4, 0.1]])
    for side in (-1.0, 1.0):
        y = np.concatenate([good, [[0.0, side], [0.1, 1.1 * side]]])
        rewards = np.array([0.6, 0.5, 0.0, 0.0])
        top = regress_optimum(y, rewards, ridge=1.0, curvature=1.0, radius=9.0)
        assert top[1] * side < 0.0
        assert softmax_weights(rewards, 2)[0] == [0, 1]


def process(count: int = 25, seed: int = 0, dimension: int = 6) -> tuple[BowlProcess, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, values = rng.standard_normal((count, dimension)), rng.standard_normal(count)
    scales = np.linspace(1.0, 3.0, dimension)
    return BowlProcess(y, values, length_scales=scales, noise=0.3, bowl=1.5), rng.standard_normal(
        (7, dimension)
    )


def test_the_process_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    y, values = rng.standard_normal((25, 6)), rng.standard_normal(25)
    scales = np.linspace(1.0, 3.0, 6)
    own = BowlProcess(y, values, length_scales=scales, noise=0.3, bowl=1.5)
    bowl = 1.5 * (np.sum(y**2, axis=1) / 6)
    rest = values + bowl
    reference = GaussianProcessRegressor(RBF(scales), alpha=0.09, optimizer=None)
    reference.fit(y, rest - rest.mean())
    probe = rng.standard_normal((9, 6))
    mean, std = own.predict(probe)
    expected, expected_std = reference.predict(probe, return_std=True)
    np.testing.assert_allclose(
        mean, expected + rest.mean() - 1.5 * np.sum(probe**2, axis=1) / 6, atol=1e-9
    )
    np.testing.assert_allclose(std, expected_std, atol=1e-7)


def test_slope_and_curvature_are_those_of_the_mean() -> None:
    posterior, probes = process()
    step = 1e-5 * np.eye(6)
    for probe in probes:
        slope, curvature = posterior.slope_and_curvature(probe)
        assert posterior.mean_at(probe) == pytest.approx(posterior.predict(probe[None])[0][0])
        numeric = [
            (posterior.mean_at(probe + s) - posterior.mean_at(probe - s)) / 2e-5 for s in step
        ]
        np.testing.assert_allclose(slope, numeric, atol=1e-7)
        rows = [
            (
                posterior.slope_and_curvature(probe + s)[0]
                - posterior.slope_and_curvature(probe - s)[0]
            )
            / 2e-5
            for s in step
        ]
        np.testing.assert_allclose(curvature, rows, atol=1e-7)


@pytest.mark.parametrize('seed', range(10))
def test_the_top_is_a_top(seed: int) -> None:
    posterior, probes = process(seed=seed)
    top = posterior.top(list(probes[:2]), radius=100.0)
    slope, _ = posterior.slope_and_curvature(top)
    assert np.linalg.norm(slope) < 0.01
    assert posterior.mean_at(top) >= max(posterior.mean_at(start) for start in probes[:2])
    assert np.linalg.norm(posterior.top(list(probes[:2]), radius=0.2)) <= 0.2 + 1e-12


def test_a_single_episode_makes_a_process() -> None:
    posterior = BowlProcess(
        np.zeros((1, 4)), np.zeros(1), length_scales=np.ones(4), noise=0.3, bowl=1.0
    )
    mean, std = posterior.predict(np.zeros((1, 4)))
    assert mean[0] == pytest.approx(0.0)
    assert 0.0 < std[0] < 0.3
    assert np.linalg.norm(posterior.top([np.ones(4)], 6.0)) < 0.01


def test_screening_tries_better_than_it_draws() -> None:
    """Executed rewards while fine-tuning beat those of the first candidate of each episode."""

    def executed(candidates: int, seed: int) -> float:
        settings = ScreenedRegressionSettings(candidates=candidates)
        optimiser = ScreenedRegression(SIGMA, seed, settings)
        noise = np.random.default_rng(seed)
        rewards = []
        for _ in range(30):
            sample = optimiser.ask()
            z = sample.residual / SIGMA
            height = np.exp(-np.sum((z[:5] - 1.0) ** 2) / 6.0)
            rewards.append(height)
            optimiser.tell(sample.index, float(np.clip(height + 0.05 * noise.normal(), 0, 1)))
        return float(np.mean(rewards[10:]))

    gains = [executed(200, seed) - executed(1, seed) for seed in range(6)]
    assert np.mean(gains) > 0.0


def test_an_optimum_at_the_edge_is_found() -> None:
    """Three first spreads off in four parameters: shrinkage to the prior alone stops short."""
    top = np.zeros(6)
    top[[0, 1, 3, 4]] = 3.0, -3.0, 3.0, 3.0

    def height(residual: np.ndarray) -> float:
        return float(np.exp(-np.sum(((residual / SIGMA)[:6] - top) ** 2) / (2.0 * 3.2**2)))

    reached = []
    for seed in range(4):
        optimiser = ScreenedRegression(SIGMA, seed)
        noise = np.random.default_rng(seed)
        for _ in range(30):
            sample = optimiser.ask()
            score = height(sample.residual) + 0.05 * noise.normal()
            optimiser.tell(sample.index, float(np.clip(score, 0, 1)))
        reached.append(height(optimiser.recommendation))
    assert np.mean(reached) > 0.8
