# SPDX-License-Identifier: Apache-2.0
"""The summary of a run, from its bag and its store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from deft_cem.session.run_config import Baseline, RunConfig
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore, StoredEpisode
from deft_cem.session.summary import PeakMemory, summarise, write_summary
from deft_core.episode import Outcome, Phase
from deft_core.errors import RecordingError
from deft_core.grasp import GRASP_DIMENSION


def episodes(records):
    """Twelve of practice, two trials of the policy, two of the prior."""
    phases = {12: Phase.EVALUATE_POLICY, 13: Phase.EVALUATE_POLICY}
    phases |= {14: Phase.EVALUATE_PRIOR, 15: Phase.EVALUATE_PRIOR}
    return [
        records.make_episode(i, reward=0.9, phase=phases[i])
        if i in phases
        else records.make_episode(i, reward=i / 12)
        for i in range(16)
    ]


ZERO = (0.0,) * GRASP_DIMENSION


def fill_store(run: Path, count: int, baseline: Baseline = Baseline.DEFT) -> None:
    with SessionStore.create(
        run / STORE_FILE,
        session_id='test',
        config=RunConfig('pick_cup', 3, baseline, '', {'episodes': 12}),
    ) as store:
        store.begin_launch('0.1.0')
        for i in range(count):
            name = f'test-0-{i:03d}'
            store.record_ask(StoredEpisode(i, name, i, Phase.WARM_UP, 'red_mug', 0, i, ZERO, ZERO))
            store.record_outcome(name, Outcome.COMPLETED)
            store.record_reward(name, 0.5, 'operator', None)


def test_summary_counts_what_is_in_the_bag(records, tmp_path: Path) -> None:
    records.write_bag(tmp_path / 'bag', episodes(records))
    fill_store(tmp_path, 16)
    summary = summarise(tmp_path, peak_rss_bytes=5_000_000, software_version='0.1.0')
    assert summary['episodes'] == 12
    assert (summary['seed'], summary['method'], summary['launches']) == (3, 'deft', 1)
    assert summary['settings'] == {'episodes': 12}
    assert summary['prior'] == 'geometric'
    assert summary['mean_reward_first10'] == pytest.approx(np.mean(np.arange(10) / 12))
    assert summary['mean_reward_last10'] == pytest.approx(np.mean(np.arange(2, 12) / 12))
    assert summary['success_warmup'] == pytest.approx(1 / 10)  # rewards above 0.7
    assert summary['success_last10'] == pytest.approx(3 / 10)
    assert summary['success_evaluation'] == summary['success_prior'] == 1.0
    assert summary['evaluation_trials'] == summary['prior_trials'] == 2
    assert summary['peak_rss_mb'] == 5.0
    assert summary['wall_s'] > 0.0
    path = write_summary(tmp_path, summary)
    assert json.loads(path.read_text()) == summary


def test_a_session_without_practice_has_a_summary(records, tmp_path: Path) -> None:
    trials = [records.make_episode(i, reward=i / 3, phase=Phase.EVALUATE_PRIOR) for i in range(4)]
    records.write_bag(tmp_path / 'bag', trials)
    fill_store(tmp_path, 4, Baseline.AFFORDANCE_ONLY)
    summary = summarise(tmp_path, peak_rss_bytes=1, software_version='0.1.0')
    assert summary['method'] == 'affordance_only'
    assert (summary['episodes'], summary['evaluation_trials'], summary['prior_trials']) == (
        0,
        0,
        4,
    )
    assert summary['success_prior'] == 0.25
    for name in ('success_evaluation', 'success_last10', 'mean_reward_last10', 'success_warmup'):
        assert summary[name] is None


def test_summary_refuses_a_bag_that_misses_an_episode(records, tmp_path: Path) -> None:
    records.write_bag(tmp_path / 'bag', episodes(records))
    fill_store(tmp_path, 17)
    with pytest.raises(RecordingError, match='test-0-016'):
        summarise(tmp_path, peak_rss_bytes=1, software_version='0.1.0')


def test_memory_of_a_process_is_counted_and_the_peak_kept() -> None:
    memory = PeakMemory()
    now = memory.sample(os.getpid())
    assert now > 10_000_000
    assert memory.peak >= now
    assert memory.sample(2**22 + 1) == 0  # above the largest process id of Linux
    assert memory.peak >= now
