# SPDX-License-Identifier: Apache-2.0
"""The landscapes keep their definition, and the comparison is paired and honest about gaps."""

from __future__ import annotations

import json

import numpy as np
import optimisers
import pytest
from optimisation import peers, study
from optimisation.landscapes import DIMENSION, FAMILIES, HELD_OUT, make_landscape

from deft_cem.optimisers.registry import DEFAULT_METHOD, METHODS, OptimiserSettings

NAMES = list(FAMILIES)


@pytest.mark.parametrize('family', NAMES)
def test_rewards_are_rewards_and_directions_orthonormal(family: str) -> None:
    for seed in range(3):
        landscape = make_landscape(family, seed)
        active = landscape.active
        np.testing.assert_allclose(active @ active.T, np.eye(len(active)), atol=1e-12)
        z = 2.0 * np.random.default_rng(seed).standard_normal((400, DIMENSION))
        context = np.random.default_rng(seed + 1).uniform(-1, 1, (400, 2))
        rewards = landscape.executed(z, context)
        assert rewards.shape == (400,)
        assert rewards.min() >= 0.0
        assert rewards.max() <= 1.0


@pytest.mark.parametrize('family', NAMES)
def test_equal_seeds_give_equal_instances_and_scores(family: str) -> None:
    z = np.random.default_rng(0).standard_normal(DIMENSION)
    first, second, other = (make_landscape(family, seed) for seed in (5, 5, 6))
    assert first.value(z) == second.value(z)
    assert first.value(z) != other.value(z)
    for heavy in (False, True):
        scores = [
            [landscape.score(z, rng, heavy=heavy) for _ in range(5)]
            for landscape, rng in (
                (first, np.random.default_rng(1)),
                (second, np.random.default_rng(1)),
            )
        ]
        assert scores[0] == scores[1]


def test_scoring_takes_the_same_draws_for_every_method_and_noise() -> None:
    """So that two methods meet the same noise in the same episode."""
    landscape = make_landscape('L1', 0)
    states = []
    for z, heavy in ((np.zeros(22), False), (np.ones(22), True), (np.full(22, 9.0), True)):
        rng = np.random.default_rng(3)
        landscape.score(z, rng, heavy=heavy)
        states.append(rng.bit_generator.state['state'])
    assert states[0] == states[1] == states[2]


def test_heavy_scores_are_tenths() -> None:
    landscape, rng = make_landscape('L5', 0), np.random.default_rng(0)
    scores = np.array([landscape.score(np.zeros(22), rng, heavy=False) for _ in range(50)])
    np.testing.assert_allclose(scores * 10, np.round(scores * 10), atol=1e-9)


@pytest.mark.parametrize(
    ('family', 'value'),
    # What the study that defines L1 to L9 measured for the zero residual.
    [('L1', 0.27), ('L2', 0.19), ('L5', 0.36), ('L6', 0.22), ('L7', 0.29), ('L8', 0.09),
     ('L9', 0.37)],
)  # fmt: skip
def test_the_prior_is_worth_what_the_definition_says(family: str, value: float) -> None:
    values = [make_landscape(family, seed).value(np.zeros(22)) for seed in range(40)]
    assert np.median(values) == pytest.approx(value, abs=0.025)


def test_the_optimum_of_a_smooth_landscape_is_its_optimum() -> None:
    landscape = make_landscape('L1', 4)
    rng = np.random.default_rng(0)
    along = rng.standard_normal((20_000, 5)) * 2.2
    values = landscape.executed(along @ landscape.active, np.zeros((20_000, 2)))
    assert values.max() > 0.9
    best = along[np.argmax(values)]
    assert np.linalg.norm(best) == pytest.approx(2.2, abs=0.6)


def test_held_out_families_exist() -> None:
    assert set(HELD_OUT) < set(FAMILIES)
    assert len(FAMILIES) == 11


@pytest.fixture(name='kept')
def _kept(tmp_path, monkeypatch):
    monkeypatch.setattr(study, 'KEPT', tmp_path)
    return tmp_path


def test_runs_go_on_where_they_stopped(kept) -> None:
    method = study.own_method('cem', OptimiserSettings('cem'), 1)
    found, done = study.collect(method, deadline=-1.0)
    assert not done
    assert not found['mild L1']['values']
    found, done = study.collect(method, deadline=float('inf'))
    assert done
    assert len(found['heavy L11']['values'][0]) == 30
    (path,) = kept.iterdir()
    again, done = study.collect(method, deadline=-1.0)
    assert done
    assert again == json.loads(path.read_text(encoding='utf-8'))


def test_every_method_of_the_registry_is_compared() -> None:
    assert {settings.method for settings in optimisers.OWN.values()} == set(METHODS)
    assert optimisers.OWN[DEFAULT_METHOD].method == DEFAULT_METHOD
    assert not optimisers.OWN[DEFAULT_METHOD].parameters


def test_a_missing_peer_is_told_in_one_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr(optimisers, 'missing_packages', lambda: ['botorch', 'cmaes'])
    names = [method.name for method in optimisers.all_methods(1)]
    assert names == [*optimisers.OWN, *optimisers.ABLATIONS]
    told = capsys.readouterr().out
    assert told.count('\n') == 1
    for word in ('botorch', 'cmaes', *peers.PEERS, 'requirements/benchmarks.txt'):
        assert word in told


def test_rows_compare_over_the_same_seeds() -> None:
    def results(offset: float, seeds: int) -> dict:
        return {
            f'{noise} {family}': {
                'values': [[offset + k / 60 for k in range(1, 31)]] * seeds,
                'update_ms': [[1.0] * 20] * seeds,
            }
            for noise in study.NOISES
            for family in FAMILIES
        }

    paper, better = results(0.0, 4), results(0.205, 2)
    method = study.Method('better', lambda _: None, 2)
    line = optimisers.row(method, better, paper, 'mild')
    assert line['gain_over_paper']['mean'] == pytest.approx(0.205)
    assert line['times_paper'] == pytest.approx(1.41)
    # 0.5 is reached at k / 60 = 0.295.
    assert line['episodes_to_paper_level'] == 18
    assert line['worst_difference'] == pytest.approx(0.205)
    assert line['update_ms'] == 1.0
    worse = optimisers.row(method, results(-0.1, 2), paper, 'heavy')
    assert worse['episodes_to_paper_level'] is None
