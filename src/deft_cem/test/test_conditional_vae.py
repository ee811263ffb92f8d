# SPDX-License-Identifier: Apache-2.0
"""The conditional VAE: closed forms, what it can learn, what it must not invent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deft_cem.policies.conditional_vae import (
    VaeSettings,
    decode,
    fit_conditional_vae,
    kl_divergence,
    left_out_predictions,
)
from deft_core.errors import ConfigurationError, TrainingError

QUICK = VaeSettings(steps=150)


def predict(weights, z, condition):
    """Decode with the member that saw everything."""
    first = {name: tensor[:1] for name, tensor in weights.items()}
    return decode(first, torch.tensor(z)[None], torch.tensor(condition)[None])[0].numpy()


def left_out_error(weights, delta, condition, z: str) -> float:
    rng = np.random.default_rng(0)
    predicted = left_out_predictions(weights, condition, VaeSettings(z=z), rng)
    return float(np.mean((predicted - delta[:, None, :]) ** 2))


def constant_error(delta) -> float:
    others = (delta.sum(axis=0) - delta) / (len(delta) - 1)
    return float(np.mean((delta - others) ** 2))


def test_divergence_equals_the_closed_form_and_a_sampled_estimate() -> None:
    mean, log_variance = torch.tensor([[0.7, -0.2]]), torch.tensor([[-1.0, 0.3]])
    exact = kl_divergence(mean, log_variance).item()
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, standard).sum().item()
    assert exact == pytest.approx(expected, rel=1e-5)
    assert kl_divergence(torch.zeros(1, 2), torch.zeros(1, 2)).item() == 0.0


def test_elites_without_structure_give_about_their_mean() -> None:
    """Ten random elites: the policy must not be much worse than the constant mean."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        delta = 1.0 + 0.7 * rng.standard_normal((10, 22))
        condition = rng.standard_normal((10, 5))
        fit = fit_conditional_vae(delta, condition, VaeSettings(), np.random.default_rng(seed))
        for z in ('mean', 'sample'):
            assert left_out_error(fit, delta, condition, z) < 1.2 * constant_error(delta)


def test_a_strong_dependence_on_the_condition_is_learned() -> None:
    rng = np.random.default_rng(1)
    condition = rng.uniform(-1.5, 1.5, (30, 2))
    slope = rng.standard_normal((2, 22))
    delta = condition @ slope + 0.2 * rng.standard_normal((30, 22))
    settings = VaeSettings(steps=400, weight_penalty=1.0, noise_ratio=0.3)
    fit = fit_conditional_vae(delta, condition, settings, np.random.default_rng(0))
    error = left_out_error(fit, delta, condition, 'mean')
    assert error < 0.5 * constant_error(delta)
    probe = np.array([[1.0, 0.0], [-1.0, 0.0]])
    predicted = predict(fit, np.zeros((2, 2)), probe)
    assert np.corrcoef(predicted[0] - predicted[1], slope[0])[0, 1] > 0.9


def test_two_clusters_live_in_the_latent() -> None:
    """The data are bimodal and the condition does not tell: z has to (paper, section 5)."""
    rng = np.random.default_rng(2)
    side = np.repeat([1.0, -1.0], 10)
    direction = np.ones(22)
    delta = side[:, None] * direction + 0.1 * rng.standard_normal((20, 22))
    settings = VaeSettings(steps=500, weight_penalty=0.1, noise_ratio=0.3)
    fit = fit_conditional_vae(delta, np.zeros((20, 1)), settings, np.random.default_rng(0))
    z = np.random.default_rng(3).standard_normal((200, 2))
    along = predict(fit, z, np.zeros((200, 1))) @ direction / 22.0
    assert np.mean(along > 0.5) > 0.2
    assert np.mean(along < -0.5) > 0.2


def test_equal_elites_are_no_division_by_zero() -> None:
    delta = np.tile(np.linspace(0, 1, 22), (5, 1))
    fit = fit_conditional_vae(delta, np.zeros((5, 0)), QUICK, np.random.default_rng(0))
    np.testing.assert_allclose(predict(fit, [[0.0, 0.0]], np.zeros((1, 0))), delta[:1], atol=0.05)


def test_members_do_not_see_the_row_they_leave_out() -> None:
    rng = np.random.default_rng(7)
    delta, condition = rng.standard_normal((5, 4)), rng.standard_normal((5, 2))
    moved = delta.copy()
    moved[2] += 100.0
    before, after = (
        left_out_predictions(
            fit_conditional_vae(d, condition, QUICK, np.random.default_rng(0)),
            condition,
            VaeSettings(z='mean'),
            np.random.default_rng(0),
        )
        for d in (delta, moved)
    )
    np.testing.assert_allclose(before[2], after[2], atol=1e-9)
    assert np.abs(before[1] - after[1]).max() > 1.0


def test_divergence_of_training_and_unknown_choices_are_refused() -> None:
    delta = np.random.default_rng(0).standard_normal((5, 22))
    wild = VaeSettings(steps=500, learning_rate=1.0, kl_weight=100.0, weight_penalty=1e6)
    with pytest.raises(TrainingError, match='diverged'):
        fit_conditional_vae(delta * 1e200, np.zeros((5, 1)), wild, np.random.default_rng(0))
    with pytest.raises(ConfigurationError, match='sample'):
        VaeSettings(z='both')
