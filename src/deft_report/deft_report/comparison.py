# SPDX-License-Identifier: Apache-2.0
"""Several runs side by side: who tried what how often, with which success (paper, Table 2).

One table as text with what it allows to say, and one picture with curves and rates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deft_core.configuration import config_directory
from deft_core.episode import Episode, Phase
from deft_core.task import load_task, task_names
from deft_core.validation import FloatArray
from deft_report import figures
from deft_report.findings import SEED, Verdict, compare_success
from deft_report.run import UNKNOWN, RunRecord, rewards
from deft_report.statistics import Interval, Rate, bootstrap_mean

COLUMNS: Final = (
    'run', 'task', 'method', 'tried', 'objects', 'success', 'rate', '95% interval',
    'mean reward', 'practice',
)  # fmt: skip
_RIGHT: Final = frozenset({'success', 'rate', 'practice'})
_FEW: Final = 2  # comparisons that need no warning about their number
WINDOW: Final = 10  # rewards in a mean, as in the paper's ten trials
_STYLES: Final = ('-', (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_ROW_INCHES: Final = 0.34
# What each evaluation phase tries.
TRIED: Final = {Phase.EVALUATE_POLICY: 'policy', Phase.EVALUATE_PRIOR: 'prior alone'}
# Objects by set ('train', 'test') of a task; empty for an unknown task.
ObjectSets = Callable[[str], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Key:
    """What trials share that are counted together; `object_set` may be unknown."""

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

    `practice` counts episodes, of all runs together in a pooled line; `reward` is the mean, with
    equal ends below two rewards.
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
    """What `deft compare` shows: runs by label, the table, verdicts and what limits them."""

    records: Mapping[str, RunRecord]
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def known_object_sets(task: str) -> Mapping[str, Sequence[str]]:
    """Objects by set of a task of config/tasks; empty for a task that is not there any more."""
    directory = config_directory()
    return load_task(task, directory).object_sets if task in task_names(directory) else {}


def compare(
    records: Mapping[str, RunRecord], object_sets: ObjectSets = known_object_sets
) -> Comparison:
    """Put runs side by side, by labels that tell them apart."""
    rows = [row for label, record in records.items() for row in _rows(label, record, object_sets)]
    pooled = list(_pooled(rows))
    verdicts = tuple(_verdicts(rows, pooled))
    notes = list(_notes(records, pooled))
    if len(verdicts) > _FEW:
        notes.append(
            f'Of {len(verdicts)} comparisons, one in twenty would look separable by chance alone.'
        )
    return Comparison(records, (*rows, *pooled), verdicts, tuple(notes))


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
            groups.setdefault(Key(task, group, record.baseline, tried), []).append(episode)
    practice = len(record.practice)
    if not groups:
        yield _row(label, Key(task, '-', record.baseline, 'no trials'), (), practice)
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


def _pooled(rows: Sequence[Row]) -> Iterator[Row]:
    """One more line for every key that several runs share."""
    shared: dict[Key, list[Row]] = {}
    for row in rows:
        if row.trials:
            shared.setdefault(row.key, []).append(row)
    for key, members in shared.items():
        if len(members) > 1:
            trials = tuple(trial for row in members for trial in row.trials)
            practice = sum(row.practice for row in members)
            yield _row(f'all {len(members)} runs', key, trials, practice, pooled=True)


def _verdicts(rows: Sequence[Row], pooled: Sequence[Row]) -> Iterator[Verdict]:
    """Every two things that were tried on one task and object set, all their runs together."""
    covered = {row.key for row in pooled}
    totals = [row for row in rows if row.key not in covered] + list(pooled)
    for first, second in itertools.combinations(totals, 2):
        group = (first.key.task, first.key.object_set)
        if group == (second.key.task, second.key.object_set):
            verdict = compare_success(
                f'{first.key.label} against {second.key.label} '
                f'({first.key.task}, {first.key.object_set} objects)',
                first.trials,
                second.trials,
            )
            if verdict is not None:
                yield verdict


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


def table(comparison: Comparison) -> list[str]:
    """The table as aligned lines."""
    lines = [COLUMNS, *(_cells(row) for row in comparison.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return [
        '  '.join(
            text.rjust(width) if name in _RIGHT else text.ljust(width)
            for text, width, name in zip(line, widths, COLUMNS, strict=True)
        ).rstrip()
        for line in lines
    ]


def _cells(row: Row) -> tuple[str, ...]:
    """One line of the table as text, in the order of `COLUMNS`."""
    successes = rate = interval = reward = '-'
    if row.rate is not None:
        successes, rate = f'{row.rate.successes}/{row.rate.trials}', f'{row.rate.value:.0%}'
        interval = f'{row.rate.interval.low:.0%} to {row.rate.interval.high:.0%}'
    if row.reward is not None:
        reward = f'{row.reward.value:.2f} ({row.reward.low:.2f} to {row.reward.high:.2f})'
    key = row.key
    tried = (row.run, key.task, key.method, key.tried, key.object_set)
    return (*tried, successes, rate, interval, reward, str(row.practice))


def sentences(comparison: Comparison) -> list[str]:
    """Verdicts and notes, one line each."""
    verdicts = [f'{v.question}: {v.answer.lower()}, {v.detail}' for v in comparison.verdicts]
    return [*verdicts, *(f'note: {note}' for note in comparison.notes)]


def overview(comparison: Comparison) -> Figure:
    """Learning curves (paper, figure 6) over success rates, in one picture."""
    rates = [row for row in comparison.rows if row.rate is not None]
    heights = (3.7, 0.8 + _ROW_INCHES * max(1, len(rates)))
    figure = figures.new_figure(figures.WIDE, sum(heights) + 0.2)
    above, below = figure.subplots(2, 1, gridspec_kw={'height_ratios': heights})
    _curves(above, comparison)
    tasks = {row.key.task for row in rates}
    lines = []
    for row in rates:
        task = f'{row.key.task}, ' if len(tasks) > 1 else ''
        label = f'{row.run}: {task}{row.key.label}, {row.key.object_set}'
        lines.append((label, row.rate, row.key.tried == TRIED[Phase.EVALUATE_POLICY]))
    figures.rate_bars(below, lines or [('', None, False)])
    return figure


def _curves(axes: Axes, comparison: Comparison) -> None:
    """Mean of the last ten rewards over practice, one thin line a run, one thick a method."""
    groups: dict[str, list[FloatArray]] = {}
    tasks = {record.episodes[0].task for record in comparison.records.values()}
    for record in comparison.records.values():
        if record.practice:
            task = f'{record.episodes[0].task}, ' if len(tasks) > 1 else ''
            curve = figures.running_mean(record.practice, WINDOW)
            groups.setdefault(f'{task}{record.baseline}', []).append(curve)
    last = 1
    for place, (name, curves) in enumerate(groups.items()):
        look: dict[str, Any] = {
            'color': figures.SERIES[place % len(figures.SERIES)],
            'linestyle': _STYLES[place // len(figures.SERIES) % len(_STYLES)],
        }
        if len(curves) > 1:
            for curve in curves:
                numbers = np.arange(1, curve.size + 1)
                axes.plot(numbers, curve, **look, linewidth=0.8, alpha=0.5)
        # Over the episodes that all runs got to.
        last_common = min(curve.size for curve in curves)
        mean = np.mean([curve[:last_common] for curve in curves], axis=0)
        last = max(last, last_common)
        label = f'{name} ({len(curves)} run{"" if len(curves) == 1 else "s"})'
        axes.plot(np.arange(1, last_common + 1), mean, **look, linewidth=2.2, label=label)
    if groups:
        figures.legend(axes, columns=3)
    axes.set_xlim(0.4, last + 0.6)
    axes.set_ylim(*figures.REWARD_LIMITS)
    figures.episode_axis(axes, last)
    axes.set_ylabel(f'mean of the last {WINDOW} rewards')
    figures.dress(axes)
