# SPDX-License-Identifier: Apache-2.0
"""What stands where in the report, as plain values for the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from deft_core.camera import ColorImage
from deft_core.episode import Episode, Outcome, Phase
from deft_report.film import Film, decode, select
from deft_report.findings import Findings
from deft_report.record import RunRecord
from deft_report.statistics import Interval

PHASE_NAMES = {
    Phase.WARM_UP: 'Warm-up',
    Phase.FINE_TUNE: 'Fine-tuning',
    Phase.EVALUATE_PRIOR: 'Evaluation, prior alone',
    Phase.EVALUATE_POLICY: 'Evaluation, policy',
}
OUTCOME_NAMES = {
    Outcome.COMPLETED: 'completed',
    Outcome.UNREACHABLE: 'not reachable',
    Outcome.COLLISION: 'collision',
    Outcome.NO_OBJECT: 'no object seen',
    Outcome.ABORTED: 'aborted',
    Outcome.FAILED: 'failed',
}
NOT_RECORDED = 'not recorded'


@dataclass(frozen=True)
class Card:
    """One key number.

    Attributes:
        key: Name for the style sheet.
        label: What was tried.
        about: How, in a few words.
        number: Large text, such as `8/10`.
        share: Share with interval in words; empty without trials.
        interval: Ends of the interval bar; None without trials.
        reward: Mean reward in words; empty without rewards.
    """

    key: str
    label: str
    about: str
    number: str
    share: str
    interval: Interval | None
    reward: str


@dataclass(frozen=True, eq=False)
class Clip:
    """The film of one episode.

    Attributes:
        key: best or worst.
        label: Heading.
        caption: Which episode, in a few words.
        film: Decoded pictures, at least one.
        strip: Selected pictures with their times. [s].
    """

    key: str
    label: str
    caption: str
    film: Film
    strip: list[tuple[float, Image.Image]]


@dataclass(frozen=True, eq=False)
class Shot:
    """One episode as pictures.

    Attributes:
        number: Episode number, from 1.
        label: Why it was selected; empty in the grid of all episodes.
        phase: Part of the session.
        reward: Two decimals, or a dash.
        mark: success, failure or unknown.
        first: Before the grasp. Shape (height, width, 3).
        last: After the trajectory. Shape (height, width, 3).
    """

    number: int
    label: str
    phase: str
    reward: str
    mark: str
    first: ColorImage
    last: ColorImage


@dataclass(frozen=True, eq=False)
class Block:
    """Episodes of one part of the session, for the grid."""

    label: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Row:
    """One line of the table of all episodes."""

    number: int
    phase: str
    object_name: str
    scene_seed: str
    outcome: str
    reward: str
    success: str
    mark: str
    source: str


def title(record: RunRecord) -> str:
    """The task for people: `pick_cup` becomes `Pick cup`."""
    name = record.episodes[0].task.replace('_', ' ').strip()
    return f'{name[:1].upper()}{name[1:]}' or 'Unnamed task'


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """Header of the report: what was run with what."""
    summary = record.summary or {}
    objects = Counter(episode.object_name for episode in record.practice or record.episodes)
    listed: list[tuple[str, str]] = [('Run', record.name)]
    if 'method' in summary:
        listed.append(('Method', str(summary['method'])))
    listed.append(('Objects', ', '.join(f'{name} ({n})' for name, n in sorted(objects.items()))))
    settings = summary.get('settings')
    if isinstance(settings, Mapping) and 'evaluation_object_set' in settings:
        listed.append(('Object set of the evaluation', str(settings['evaluation_object_set'])))
    listed.append(('Prior', record.episodes[0].prior.source))
    listed.append(('Seed', str(summary.get('seed', record.episodes[0].sample_seed))))
    listed.append(('Episodes', _counts(record)))
    listed.append(('Wall time', _duration(summary.get('wall_s'))))
    listed.append(('Peak memory', _megabytes(summary.get('peak_rss_mb'))))
    listed.append(('Policy', _policy(record.policy)))
    versions = summary.get('software')
    if isinstance(versions, Mapping):
        text = ', '.join(f'{name} {version}' for name, version in sorted(versions.items()))
        listed.append(('Versions', text))
    return listed


def _counts(record: RunRecord) -> str:
    evaluated = len(record.episodes) - len(record.practice)
    return f'{len(record.practice)} practice, {evaluated} evaluation'


def _policy(policy: Mapping[str, Any] | None) -> str:
    """What was deployed; why stands in a section of its own."""
    if policy is None:
        return 'not trained'
    text = str(policy.get('kind', NOT_RECORDED)).replace('_', ' ')
    details = policy.get('details')
    elites = details.get('elite_episodes') if isinstance(details, Mapping) else None
    return f'{text}, from {len(elites)} elites' if isinstance(elites, list) else text


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return NOT_RECORDED
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def _megabytes(amount: Any) -> str:
    return f'{amount:.0f} MB' if isinstance(amount, int | float) else NOT_RECORDED


def cards(findings: Findings) -> list[Card]:
    """The key numbers."""
    made = []
    for group in findings.groups:
        if group.rate is None:
            number = 'not judged' if group.count else 'not run'
            share, interval = '', None
        else:
            interval = group.rate.interval
            number = f'{group.rate.successes}/{group.rate.trials}'
            share = f'{interval.value:.0%}, interval {interval.low:.0%} to {interval.high:.0%}'
        mean = group.reward
        reward = f'{mean.value:.2f} ({mean.low:.2f} to {mean.high:.2f})' if mean else ''
        made.append(Card(group.key, group.label, group.about, number, share, interval, reward))
    return made


def best_and_worst(record: RunRecord) -> tuple[Clip, ...]:
    """Films of the episodes with the highest and the lowest reward; one if they are the same.

    Only episodes that moved count, which shows in a film of several pictures: what was refused
    before it began has nothing to show. Among equals the latest is the best and the earliest the
    worst: what practice led to, and where it came from.
    """
    filmed = [episode for episode in _ranked(record.episodes) if len(episode.film) > 1]
    if not filmed:
        return ()
    best, worst = filmed[-1], filmed[0]
    chosen = [('best', 'Best episode', best)]
    if worst is not best:
        chosen.append(('worst', 'Worst episode', worst))
    clips = []
    for key, label, episode in chosen:
        pictures = decode(episode.film)
        if pictures.images:
            clips.append(Clip(key, label, _caption(episode), pictures, select(pictures)))
    return tuple(clips)


def _caption(episode: Episode) -> str:
    return (
        f'Episode {episode.index + 1}, {PHASE_NAMES[episode.phase].lower()}, '
        f'{episode.object_name}, reward {_reward(episode)}, {_success(episode)}'
    )


def turning_points(record: RunRecord) -> list[Shot]:
    """A few episodes that tell the story: first, best of practice, one evaluation scene.

    The evaluation is shown by the median trial of the policy and the trial of the prior alone
    on the same scene, not by the finest of each.
    """
    chosen = [('First episode', record.episodes[0])]
    stages = (('Best of the warm-up', Phase.WARM_UP), ('Best of fine-tuning', Phase.FINE_TUNE))
    for label, phase in stages:
        ranked = _ranked(record.phase(phase))
        if ranked:
            chosen.append((label, ranked[-1]))
    policy = _ranked(record.phase(Phase.EVALUATE_POLICY))
    if policy:
        median = policy[len(policy) // 2]
        chosen += [
            ('Prior alone, same scene', episode)
            for episode in record.phase(Phase.EVALUATE_PRIOR)
            if episode.scene_seed == median.scene_seed >= 0
        ]
        chosen.append(('Policy, median trial', median))
    unique = {episode.index: (label, episode) for label, episode in reversed(chosen)}
    return [_shot(episode, label) for label, episode in reversed(unique.values())]


def _ranked(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes that have a reward, lowest first."""
    rated = [(episode.reward, episode.index, episode) for episode in episodes]
    return [
        entry[2]
        for entry in sorted(
            (entry for entry in rated if entry[0] is not None), key=lambda entry: entry[:2]
        )
    ]


def blocks(record: RunRecord) -> list[Block]:
    """All episodes by part of the session."""
    made = []
    for phase, label in PHASE_NAMES.items():
        shots = tuple(_shot(episode, '') for episode in record.phase(phase))
        if shots:
            made.append(Block(label, shots))
    return made


def rows(record: RunRecord) -> list[Row]:
    """The table of all episodes."""
    return [
        Row(
            number=episode.index + 1,
            phase=PHASE_NAMES[episode.phase],
            object_name=episode.object_name,
            scene_seed='by hand' if episode.scene_seed < 0 else str(episode.scene_seed),
            outcome=OUTCOME_NAMES[episode.outcome],
            reward=_reward(episode),
            success=_success(episode),
            mark=_mark(episode),
            source=episode.reward_source or 'nobody',
        )
        for episode in record.episodes
    ]


def _shot(episode: Episode, label: str) -> Shot:
    return Shot(
        number=episode.index + 1,
        label=label,
        phase=PHASE_NAMES[episode.phase],
        reward=_reward(episode),
        mark=_mark(episode),
        first=episode.first_image,
        last=episode.last_image,
    )


def _reward(episode: Episode) -> str:
    return '-' if episode.reward is None else f'{episode.reward:.2f}'


def _success(episode: Episode) -> str:
    return {True: 'success', False: 'no success', None: 'not judged'}[episode.success]


def _mark(episode: Episode) -> str:
    return {True: 'success', False: 'failure', None: 'unknown'}[episode.success]
