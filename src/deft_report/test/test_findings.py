# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from deft_core.episode import Phase
from deft_core.errors import RecordingError
from deft_report.findings import find
from deft_report.run import RunRecord


def changed(record, change):
    """The record with `change` applied to every episode."""
    return replace(record, episodes=tuple(change(episode) for episode in record.episodes))


def judge(record, policy, prior):
    """The record with so many successes in the evaluation, the first scenes first."""
    counts = {Phase.EVALUATE_POLICY: policy, Phase.EVALUATE_PRIOR: prior}

    def change(episode):
        if episode.phase not in counts:
            return episode
        won = episode.scene_seed - 2000 < counts[episode.phase]
        return replace(episode, success=won, reward=0.9 if won else 0.1)

    return changed(record, change)


def test_groups_hold_what_their_episodes_say(full):
    groups = {group.key: group for group in find(full).groups}
    assert [group.count for group in groups.values()] == [10, 10, 10, 10]
    assert groups['last'].rate.successes == sum(episode.success for episode in full.practice[-10:])
    warm_up = [episode.reward for episode in full.practice[:10]]
    assert groups['warm_up'].reward.value == pytest.approx(sum(warm_up) / 10)
    assert groups['warm_up'].reward.low < groups['warm_up'].reward.value


def test_trials_are_paired_by_scene_whatever_their_order(full):
    shuffled = replace(full, episodes=full.episodes[::-1])
    pairs = find(shuffled).pairs
    assert len(pairs) == 10
    assert all(prior.scene_seed == policy.scene_seed for prior, policy in pairs)
    assert all(prior.phase is Phase.EVALUATE_PRIOR for prior, _ in pairs)


def test_scenes_laid_out_by_hand_are_not_paired(full):
    by_hand = changed(full, lambda episode: replace(episode, scene_seed=-1))
    findings = find(by_hand)
    assert not findings.pairs
    assert 'Fisher' in findings.verdicts[0].detail


def test_a_clear_win_is_separable_and_a_narrow_one_is_not(full):
    clear = find(judge(full, policy=10, prior=2))
    assert [verdict.answer for verdict in clear.verdicts[:2]] == ['Separable: better'] * 2
    assert (
        '10 of 10 against 2 of 10 (exact McNemar test on 10 shared scenes'
        in clear.verdicts[0].detail
    )
    narrow = find(judge(full, policy=6, prior=4))
    assert [verdict.answer for verdict in narrow.verdicts[:2]] == ['Not separable'] * 2
    worse = find(judge(full, policy=0, prior=9))
    assert [verdict.answer for verdict in worse.verdicts[:2]] == ['Separable: worse'] * 2


def test_a_complete_session_needs_no_notes(full):
    assert find(full).notes == ()


def test_a_partial_session_says_what_is_missing(partial):
    findings = find(partial)
    notes = ' '.join(findings.notes)
    assert 'after 7 practice episodes, during the warm-up' in notes
    assert 'No policy was trained' in notes
    assert 'No evaluation trial' in notes
    assert 'summary.json' in notes
    assert findings.verdicts == ()


def test_a_cut_bag_and_a_half_evaluation_are_told(full):
    kept = [episode for episode in full.episodes if episode.phase is not Phase.EVALUATE_PRIOR]
    notes = ' '.join(
        find(replace(full, episodes=tuple(kept), damaged=('bag.mcap ends early',))).notes
    )
    assert 'ends early' in notes
    assert '10 trials with the policy, 0 with the prior' in notes


def test_missing_judgements_are_left_out_and_told(full):
    first = replace(full.episodes[0], success=None, reward=None)
    findings = find(replace(full, episodes=(first, *full.episodes[1:])))
    assert findings.groups[1].rate.trials == 9
    notes = ' '.join(findings.notes)
    assert 'judgement of success, left out of rates: 1' in notes
    assert 'without a reward, left out of means: 1' in notes


def test_a_run_without_episodes_is_refused():
    with pytest.raises(RecordingError, match='no finished episode'):
        RunRecord('empty', (), None, None)
