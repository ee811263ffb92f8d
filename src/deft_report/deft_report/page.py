# SPDX-License-Identifier: Apache-2.0
"""The page of a run: one HTML file that needs nothing else, and its pictures beside it."""

from __future__ import annotations

import base64
import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from deft_core.episode import Episode, Outcome, Phase
from deft_core.files import write_atomically
from deft_report import figures, pictures
from deft_report.findings import Findings, find
from deft_report.run import UNKNOWN, RunRecord, load_run

REPORT = 'report.html'
FIGURES = 'figures'
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


@dataclass(frozen=True, eq=False)
class Rollout:
    """The video of one episode, best or worst, of at least one picture."""

    key: str
    episode: Episode
    video: pictures.Video


def build_report(run: Path) -> Path:
    """Write report.html and figures/ of a run from what it recorded; returns the report file.

    Raises:
        RecordingError: The run cannot be read, or the report cannot be written.
    """
    return write_report(load_run(run), run)


def write_report(record: RunRecord, run: Path) -> Path:
    """Write report.html and figures/ into an existing folder; see `build_report`."""
    report = run / REPORT
    write_atomically(report, render(record, _command(run)))
    for name, draw in _draws(record, find(record)).items():
        write_atomically(run / FIGURES / f'{name}.png', figures.to_png(draw))
    for rollout in best_and_worst(record):
        video = pictures.animate(rollout.video)
        write_atomically(run / FIGURES / f'rollout_{rollout.key}.webp', video)
    return report


def _draws(record: RunRecord, findings: Findings) -> dict[str, figures.Draw]:
    """The charts by file name."""
    charts: dict[str, figures.Draw] = {
        'learning_curve': partial(figures.learning_curve, record, findings)
    }
    if record.practice:
        charts['residual_mean'] = partial(figures.residual_mean, record)
    return charts


def render(record: RunRecord, command: str) -> str:
    """The page as HTML; the command that makes it is shown at its end."""
    findings = find(record)
    rollouts = best_and_worst(record)
    notes = list(findings.notes)
    damaged = sum(rollout.video.damaged for rollout in rollouts)
    if damaged:
        notes.append(f'Video frames that cannot be decoded, left out: {damaged}.')
    # What is inserted is escaped, what is lacking is an error.
    environment = Environment(
        loader=PackageLoader('deft_report', 'templates'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        'reward': _reward,
        'success': _success,
        'mark': _mark,
        'phase': lambda episode: PHASE_NAMES[episode.phase],
        'outcome': lambda episode: OUTCOME_NAMES[episode.outcome],
        'jpeg': _data_uri('image/jpeg', pictures.encode),
        'webp': _data_uri('image/webp', pictures.animate),
        'number': lambda value, form: format(value, form) if _is_number(value) else '-',
        'words': lambda name: str(name).replace('_', ' '),
    }
    drawn = _draws(record, findings).items()
    return environment.get_template('template.html.j2').render(
        title=title(record),
        record=record,
        facts=facts(record),
        findings=findings,
        notes=notes,
        charts={name: figures.to_svg(draw, name) for name, draw in drawn},
        policy=record.policy,
        details=_mapping(record.policy, 'details'),
        candidates=candidates(record.policy),
        rollouts=rollouts,
        turning_points=turning_points(record),
        blocks=[(label, record.phase(phase)) for phase, label in PHASE_NAMES.items()],
        command=command,
    )


def _data_uri(kind: str, encode: Callable[..., bytes]) -> Callable[..., str]:
    """A filter that embeds what `encode` makes."""

    def embed(*arguments: object) -> str:
        return f'data:{kind};base64,{base64.b64encode(encode(*arguments)).decode()}'

    return embed


def _command(run: Path) -> str:
    """The command that makes this report, without the folders above the working directory."""
    shown = Path(os.path.relpath(run))
    return f'deft report {shlex.quote(shown.name if ".." in shown.parts else str(shown))}'


def title(record: RunRecord) -> str:
    """The task for people: `pick_cup` becomes `Pick cup`."""
    name = record.episodes[0].task.replace('_', ' ').strip()
    return f'{name[:1].upper()}{name[1:]}' or 'Unnamed task'


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """Header of the report: what was run with what."""
    summary = record.summary or {}
    objects = Counter(episode.object_name for episode in record.practice or record.episodes)
    trials = len(record.episodes) - len(record.practice)
    wall, memory = summary.get('wall_s'), summary.get('peak_rss_mb')
    object_set = _mapping(summary, 'settings').get('evaluation_object_set')
    versions = sorted(_mapping(summary, 'software').items())
    listed = {
        'Run': record.name,
        'Method': record.baseline if 'method' in summary else None,
        'Objects': ', '.join(f'{name} ({n})' for name, n in sorted(objects.items())),
        'Object set of the evaluation': object_set,
        'Prior': record.episodes[0].prior.source,
        'Seed': summary.get('seed', record.episodes[0].sample_seed),
        'Episodes': f'{len(record.practice)} practice, {trials} evaluation',
        'Wall time': _duration(wall) if isinstance(wall, int | float) else UNKNOWN,
        'Peak memory': f'{memory:.0f} MB' if _is_number(memory) else UNKNOWN,
        'Policy': str((record.policy or {}).get('kind', 'not trained')).replace('_', ' '),
        'Versions': ', '.join(f'{name} {version}' for name, version in versions) or None,
    }
    return [(name, str(value)) for name, value in listed.items() if value is not None]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _mapping(values: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    """An inner mapping; empty where there is none."""
    inner = (values or {}).get(key)
    return inner if isinstance(inner, Mapping) else {}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def candidates(policy: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What was compared before a policy was deployed, as policy.json lists it; best first."""
    listed = _mapping(policy, 'details').get('candidates')
    return [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []


def best_and_worst(record: RunRecord) -> list[Rollout]:
    """Videos of the episodes with the highest and the lowest reward; one if they are the same.

    Only episodes that moved count, which shows in a video of several pictures: what was refused
    before it began has nothing to show. Among equals the latest is the best and the earliest the
    worst: what practice led to, and where it came from.
    """
    recorded_video = [
        episode for episode in _ranked(record.episodes) if len(episode.rollout_video) > 1
    ]
    chosen = {
        'best': recorded_video[-1:],
        'worst': recorded_video[:1] if len(recorded_video) > 1 else [],
    }
    rollouts = [
        Rollout(key, episode, pictures.decode(episode.rollout_video))
        for key, episodes in chosen.items()
        for episode in episodes
    ]
    return [rollout for rollout in rollouts if rollout.video.images]


def turning_points(record: RunRecord) -> list[tuple[str, Episode]]:
    """A few episodes that tell the story: first, best of practice, one evaluation scene.

    The evaluation is shown by the median trial of the policy and the trial of the prior alone
    on the same scene, not by the finest of each.
    """
    chosen = [('First episode', record.episodes[0])]
    stages = (('Best of the warm-up', Phase.WARM_UP), ('Best of fine-tuning', Phase.FINE_TUNE))
    for label, phase in stages:
        chosen += [(label, episode) for episode in _ranked(record.phase(phase))[-1:]]
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
    return list(reversed(unique.values()))


def _ranked(episodes: Sequence[Episode]) -> list[Episode]:
    """Episodes that have a reward, lowest first, equal ones in order of trial."""
    rewarded = [(episode.reward, episode) for episode in episodes if episode.reward is not None]
    return [episode for _, episode in sorted(rewarded, key=lambda pair: pair[0])]


def _reward(episode: Episode) -> str:
    return '-' if episode.reward is None else f'{episode.reward:.2f}'


def _success(episode: Episode) -> str:
    return {True: 'success', False: 'no success', None: 'not judged'}[episode.success]


def _mark(episode: Episode) -> str:
    return {True: 'success', False: 'failure', None: 'unknown'}[episode.success]
