# SPDX-License-Identifier: Apache-2.0
"""The example that others begin with runs, and takes any optimiser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import own_optimiser
import pytest
from scipy import optimize

from deft_sim.benchmark.trial_track import TrialTrack


def powell(track: TrialTrack, _: int) -> np.ndarray:
    """Somebody else's, in the way that a library for functions wants it."""
    found = optimize.minimize(
        lambda z: -track.score(z * track.sigma),
        np.zeros(22),
        method='Powell',
        options={'maxfev': track.left},
    )
    return found.x * track.sigma


def test_optimisers_are_compared_in_one_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = tmp_path / 'nine_tasks.json'
    mean = {'mean': 0.75, 'low': 0.7, 'high': 0.8, 'n': 3}
    rows = [
        {'task': task, 'method': 'deft_default', 'train': mean, 'test': 0.5, 'seeds': 3}
        for task in ('pick_cup', 'pour_cup')
    ]
    kept.write_text(json.dumps({'measurements': {'per_task': rows}}))
    monkeypatch.setattr(own_optimiser, 'RESULTS', kept)
    monkeypatch.setitem(own_optimiser.OPTIMISERS, 'scipy', powell)
    assert own_optimiser.main(['--episodes', '2', '--trials', '1']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:32].strip() for line in lines[1:]] == [
        *own_optimiser.OPTIMISERS,
        'deft_default (benchmark)',
    ]
    assert lines[-1].split()[-3:] == ['0.75', '0.50', '3']
    assert own_optimiser.main(['--task', 'pick_cupp']) == 3
