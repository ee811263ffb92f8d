# SPDX-License-Identifier: Apache-2.0
"""Runs side by side: the table, what it allows to say, the curves, what is refused."""

from __future__ import annotations

import argparse
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from deft_core.episode import Phase
from deft_core.errors import ConfigurationError, RecordingError
from deft_report.commands import compare as command
from deft_report.comparison import compare, table
from deft_report.run import RunRecord

SETS = {'train': ('mug_red', 'mug_blue'), 'test': ('tumbler_green',)}


def object_sets(task: str):
    return SETS if task == 'pick_cup' else {}


def with_method(record: RunRecord, method: str, **changes) -> RunRecord:
    return replace(record, summary={**(record.summary or {}), 'method': method}, **changes)


def outcomes(record: RunRecord, phase: Phase, successes: int, **changes) -> RunRecord:
    """The same run with the first trials of a phase as successes and the others as failures."""
    trials = [e.episode_id for e in record.phase(phase)]
    return replace(
        record,
        episodes=tuple(
            replace(e, success=trials.index(e.episode_id) < successes, **changes)
            if e.episode_id in trials
            else e
            for e in record.episodes
        ),
    )


@pytest.fixture(scope='module')
def deft(full: RunRecord) -> RunRecord:
    record = outcomes(with_method(full, 'deft'), Phase.EVALUATE_POLICY, 9, object_name='mug_red')
    return outcomes(record, Phase.EVALUATE_PRIOR, 2, object_name='mug_red')


@pytest.fixture(scope='module')
def baseline(deft: RunRecord) -> RunRecord:
    """Affordance only: no practice, no policy."""
    return replace(with_method(deft, 'affordance_only'), episodes=deft.phase(Phase.EVALUATE_PRIOR))


def rows(comparison):
    return [
        (r.run, r.key.method, r.key.tried, r.key.object_set, r.rate and
         (r.rate.successes, r.rate.trials), r.practice, r.pooled)
        for r in comparison.rows
    ]  # fmt: skip


def test_the_table_has_one_line_for_each_thing_that_was_tried(deft, baseline, partial) -> None:
    comparison = compare({'a': deft, 'b': baseline, 'c': partial}, object_sets)
    assert rows(comparison) == [
        ('a', 'deft', 'policy', 'train', (9, 10), 30, False),
        ('a', 'deft', 'prior alone', 'train', (2, 10), 30, False),
        ('b', 'affordance_only', 'prior alone', 'train', (2, 10), 0, False),
        ('c', 'not recorded', 'no trials', '-', None, 7, False),
    ]
    lines = table(comparison)
    assert lines[0].split()[:5] == ['run', 'task', 'method', 'tried', 'objects']
    assert '9/10   90%  60% to 98%' in lines[1]
    assert lines[4].split()[-1] == '7'
    notes = ' '.join(comparison.notes)
    assert 'b has no practice.' in notes
    assert 'c has no evaluation trials.' in notes
    assert 'c did not come to its end' in notes
    assert 'Of 3 comparisons, one in twenty' in notes


def test_object_sets_are_told_apart_by_the_objects(full) -> None:
    comparison = compare({'a': with_method(full, 'deft')}, object_sets)
    found = {(r.key.tried, r.key.object_set): len(r.trials) for r in comparison.rows}
    assert set(found) == {
        (tried, group) for tried in ('policy', 'prior alone') for group in ('train', 'test')
    }
    assert sum(found.values()) == 20
    # A task that is not in config/tasks any more: what the session was configured with.
    unknown = compare({'a': full}, lambda _: {})
    assert {r.key.object_set for r in unknown.rows} == {'train'}


def test_runs_that_share_everything_are_pooled_too(deft) -> None:
    other = outcomes(deft, Phase.EVALUATE_POLICY, 4)
    comparison = compare({'a': deft, 'b': other}, object_sets)
    pooled = [row for row in rows(comparison) if row[-1]]
    assert pooled == [
        ('all 2 runs', 'deft', 'policy', 'train', (13, 20), 60, True),
        ('all 2 runs', 'deft', 'prior alone', 'train', (4, 20), 60, True),
    ]
    assert any('independent' in note for note in comparison.notes)
    # Verdicts are about the pooled trials; their scenes repeat, so they are not paired.
    (verdict,) = comparison.verdicts
    assert '13 of 20 against 4 of 20 (exact Fisher test' in verdict.detail


def test_differences_are_judged_scene_by_scene_where_that_is_possible(deft, baseline) -> None:
    comparison = compare({'a': deft, 'b': baseline}, object_sets)
    found = {v.question: v for v in comparison.verdicts}
    question = 'deft, policy against affordance_only, prior alone (pick_cup, train objects)'
    assert found[question].separable
    assert found[question].better
    assert 'McNemar test on 10 shared scenes' in found[question].detail
    elsewhere = replace(
        baseline,
        episodes=tuple(replace(e, scene_seed=e.scene_seed + 500) for e in baseline.episodes),
    )
    comparison = compare({'a': deft, 'b': elsewhere}, object_sets)
    assert 'Fisher' in {v.question: v for v in comparison.verdicts}[question].detail
    other_task = replace(
        baseline, episodes=tuple(replace(e, task='pour_cup') for e in baseline.episodes)
    )
    questions = {v.question for v in compare({'a': deft, 'b': other_task}, object_sets).verdicts}
    assert not any('affordance_only' in question for question in questions)


def test_rewards_of_different_scorers_are_called_incomparable(deft, baseline) -> None:
    by_camera = replace(
        baseline, episodes=tuple(replace(e, reward_source='r3m') for e in baseline.episodes)
    )
    notes = compare({'a': deft, 'b': by_camera}, object_sets).notes
    assert any('not comparable (a: scripted_operator; b: r3m)' in note for note in notes)


@pytest.fixture
def folders(records, tmp_path: Path) -> list[Path]:
    """Two runs of equal name, one complete and one without practice."""
    made = []
    for place, phases in enumerate(
        ([Phase.WARM_UP] * 2 + [Phase.EVALUATE_POLICY] * 2, [Phase.EVALUATE_PRIOR] * 3)
    ):
        run = tmp_path / f'day{place}' / 'cup'
        episodes = [
            records.make_episode(i, seed=place, phase=phase) for i, phase in enumerate(phases)
        ]
        records.write_bag(run / 'bag', episodes)
        (run / 'summary.json').write_text(json.dumps({'method': f'm{place}'}))
        made.append(run)
    return made


def run_compare(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def test_the_command_prints_and_draws(folders, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_compare(*folders, '--output', 'a.png') == 0
    output = capsys.readouterr().out
    assert 'day0/cup  pick_cup  m0' in output  # red_mug is a training object of the task
    assert 'day1/cup' in output
    assert 'wrote a.png' in output
    with Image.open(io.BytesIO((tmp_path / 'a.png').read_bytes())) as picture:
        assert picture.width > 1000


def test_a_single_run_without_practice_or_judgement(records, tmp_path, capsys) -> None:
    episodes = [records.make_episode(i, reward=None, phase=Phase.EVALUATE_PRIOR) for i in range(2)]
    records.write_bag(tmp_path / 'run' / 'bag', episodes)
    assert run_compare(tmp_path / 'run', '--output', tmp_path / 'one.png') == 0
    assert '2 trials without a judgement' in capsys.readouterr().out
    assert (tmp_path / 'one.png').exists()


def test_what_is_no_run_is_refused_by_name(folders, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RecordingError, match=r'no bag at .*empty'):
        run_compare(folders[0], tmp_path / 'empty')
    with pytest.raises(RecordingError, match='nowhere'):
        run_compare(folders[0], tmp_path / 'nowhere')
    with pytest.raises(ConfigurationError, match='named more than once'):
        run_compare(folders[0], f'{folders[0]}/../cup')
    shutil.copytree(folders[0], tmp_path / 'copy')
    with pytest.raises(ConfigurationError, match=r'cup and .*copy hold the same session'):
        run_compare(folders[0], tmp_path / 'copy')


def test_a_wrong_output_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r'\.png'):
        run_compare('nowhere', '--output', tmp_path / 'a.pdf')
    with pytest.raises(ConfigurationError, match='no folder'):
        run_compare('nowhere', '--output', tmp_path / 'gone' / 'a.png')
