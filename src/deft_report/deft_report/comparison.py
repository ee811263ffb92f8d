# SPDX-License-Identifier: Apache-2.0
"""Several runs side by side: who tried what how often, with which success (paper, Table 2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from deft_core.episode import Episode, Phase
from deft_core.errors import InvalidInputError
from deft_report.findings import SEED, Verdict, rewards
from deft_report.record import RunRecord
from deft_report.statistics import (
    Interval,
    Rate,
    bootstrap_mean,
    compare_paired_outcomes,
    compare_rates,
)

UNKNOWN: Final = 'not recorded'
_FEW: Final = 2  # comparisons that need no warning about their number
# What each evaluation phase tries.
TRIED: Final = {Phase.EVALUATE_POLICY: 'policy', Phase.EVALUATE_PRIOR: 'prior alone'}
# Objects by set ('train', 'test') of a task; empty for an unknown task.
ObjectSets = Callable[[str], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Key:
    """What trials must share to be counted together.

    Attributes:
        task: Name of the task.
        object_set: 'train', 'test', or what is known instead.
        method: Method of the session, as summary.json names it.
        tried: 'policy' or 'prior alone'.
    """

    task: str
    object_set: str
    method: str
    tried: str

    @property
    def label(self) -> str:
        """In words, without task and object set."""
        return f'{self.method}, {self.tried}'


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table: the trials of one run, or of all runs that share a key.

    Attributes:
        run: Name of the run; 'all N runs' for a pooled line.
        key: What was tried.
        trials: The evaluation episodes.
        practice: Practice episodes behind them; of all runs together in a pooled line.
        rate: Success; None when no trial was judged or none was run.
        reward: Mean reward; with equal ends below two rewards, None without any.
        pooled: Whether several runs are counted together.
    """

    run: str
    key: Key
    trials: tuple[Episode, ...]
    practice: int
    rate: Rate | None
    reward: Interval | None
    pooled: bool = False


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `deft compare` shows.

    Attributes:
        records: The runs by their labels, in the order they were named.
        rows: The table.
        verdicts: Which differences the trials can show.
        notes: What limits the comparison, one sentence each.
    """

    records: Mapping[str, RunRecord]
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def compare(records: Mapping[str, RunRecord], object_sets: ObjectSets) -> Comparison:
    """Put runs side by side.

    Args:
        records: Runs by a label that tells them apart.
        object_sets: Objects by set of a task.

    Raises:
        InvalidInputError: No run.
    """
    if not records:
        raise InvalidInputError('A comparison needs at least one run, got none.')
    rows = [row for label, record in records.items() for row in _rows(label, record, object_sets)]
    pooled = list(_pooled(rows))
    verdicts = tuple(_verdicts(rows, pooled))
    notes = list(_notes(records, pooled))
    if len(verdicts) > _FEW:
        notes.append(
            f'Of {len(verdicts)} comparisons, one in twenty would look separable by chance alone.'
        )
    return Comparison(records, (*rows, *pooled), verdicts, tuple(notes))


def method_of(record: RunRecord) -> str:
    """Method of a session, from its summary."""
    return str((record.summary or {}).get('method', UNKNOWN))


def _rows(label: str, record: RunRecord, object_sets: ObjectSets) -> Iterator[Row]:
    """Lines of one run; a run without evaluation has one that says so."""
    task = record.episodes[0].task
    sets = {name: group for group, names in object_sets(task).items() for name in names}
    settings = (record.summary or {}).get('settings')
    configured = settings.get('evaluation_object_set') if isinstance(settings, Mapping) else None
    fallback = configured if configured in ('train', 'test') else UNKNOWN
    groups: dict[Key, list[Episode]] = {}
    for phase, tried in TRIED.items():
        for episode in record.phase(phase):
            group = sets.get(episode.object_name, fallback)
            groups.setdefault(Key(task, group, method_of(record), tried), []).append(episode)
    practice = len(record.practice)
    if not groups:
        yield _row(label, Key(task, '-', method_of(record), 'no trials'), (), practice)
    for key, trials in groups.items():
        yield _row(label, key, tuple(trials), practice)


def _row(
    run: str, key: Key, trials: tuple[Episode, ...], practice: int, *, pooled: bool = False
) -> Row:
    given = rewards(trials)
    reward: Interval | None = None
    if len(given) > 1:
        reward = bootstrap_mean(given, np.random.default_rng(SEED))
    elif given:
        reward = Interval(given[0], given[0], given[0])
    rate = Rate.of([trial.success for trial in trials])
    return Row(run, key, trials, practice, rate, reward, pooled)


def _by_key(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    shared: dict[Key, list[Row]] = {}
    for row in rows:
        shared.setdefault(row.key, []).append(row)
    return shared


def _pooled(rows: Sequence[Row]) -> Iterator[Row]:
    """One more line for every key that several runs share."""
    for key, members in _by_key([row for row in rows if row.trials]).items():
        if len(members) > 1:
            trials = tuple(trial for row in members for trial in row.trials)
            practice = sum(row.practice for row in members)
            yield _row(f'all {len(members)} runs', key, trials, practice, pooled=True)


def _verdicts(rows: Sequence[Row], pooled: Sequence[Row]) -> Iterator[Verdict]:
    """Every two things that were tried on one task and object set, all their runs together."""
    totals = [row for row in rows if row.rate is not None]
    covered = {row.key for row in pooled}
    totals = [row for row in totals if row.key not in covered]
    totals += [row for row in pooled if row.rate is not None]
    for first, second in itertools.combinations(totals, 2):
        same = (first.key.task, first.key.object_set) == (second.key.task, second.key.object_set)
        if same:
            yield _verdict(first, second)


def _verdict(first: Row, second: Row) -> Verdict:
    question = (
        f'{first.key.label} against {second.key.label} '
        f'({first.key.task}, {first.key.object_set} objects)'
    )
    assert first.rate is not None, 'only judged trials are compared'
    assert second.rate is not None, 'only judged trials are compared'
    better = first.rate.value > second.rate.value
    pairs = _shared_scenes(first.trials, second.trials)
    counts = (
        f'{first.rate.successes} of {first.rate.trials} against '
        f'{second.rate.successes} of {second.rate.trials}'
    )
    if len(pairs) == first.rate.trials == second.rate.trials:
        p_value = compare_paired_outcomes(*zip(*pairs, strict=True))
        test = f'exact McNemar test on {len(pairs)} shared scenes'
    else:
        p_value = compare_rates(first.rate, second.rate)
        test = 'exact Fisher test'
    return Verdict(question, p_value, better, f'{counts} ({test}, p = {p_value:.2g}).')


def _shared_scenes(first: Sequence[Episode], second: Sequence[Episode]) -> list[tuple[bool, bool]]:
    """Outcomes on the scenes that both saw; empty where a scene is not unique."""

    def by_scene(trials: Sequence[Episode]) -> dict[tuple[int, str], bool]:
        judged = [trial for trial in trials if trial.success is not None]
        scenes = {
            (trial.scene_seed, trial.object_name): bool(trial.success)
            for trial in judged
            if trial.scene_seed >= 0
        }
        return scenes if len(scenes) == len(judged) else {}

    one, other = by_scene(first), by_scene(second)
    return [(one[scene], other[scene]) for scene in one if scene in other]


def _notes(records: Mapping[str, RunRecord], pooled: Sequence[Row]) -> Iterator[str]:
    for label, record in records.items():
        if not record.practice:
            yield f'{label} has no practice.'
        if not record.phase(*TRIED):
            yield f'{label} has no evaluation trials.'
        if record.summary is None:
            yield f'{label} did not come to its end: there is no summary.json.'
        unjudged = sum(trial.success is None for trial in record.phase(*TRIED))
        if unjudged:
            yield f'{label}: {unjudged} trials without a judgement are left out of the rates.'
    sources = {
        label: {e.reward_source for e in record.episodes} - {'', 'outcome'}
        for label, record in records.items()
    }
    if len(set().union(*sources.values())) > 1:
        named = '; '.join(f'{label}: {", ".join(sorted(s))}' for label, s in sources.items() if s)
        yield f'Rewards come from different scorers and are not comparable ({named}).'
    if pooled:
        yield (
            'Pooled lines count the trials of all runs as independent; where runs differ from '
            'each other, their true interval is wider.'
        )
