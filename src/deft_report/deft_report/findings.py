# SPDX-License-Identifier: Apache-2.0
"""The numbers of a session and what they allow to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deft_cem.optimisers.cem import DEFAULT_EPISODES, DEFAULT_WARM_UP
from deft_core.episode import Episode, Phase
from deft_report.run import RunRecord, rewards
from deft_report.statistics import (
    SIGNIFICANCE,
    Interval,
    Rate,
    bootstrap_mean,
    compare_paired_outcomes,
    compare_rates,
    paired_permutation_test,
)

# The report of one run must come out the same every time, so its resampling has a fixed seed.
SEED = 0


@dataclass(frozen=True)
class Group:
    """One block of episodes; its `reward` is the mean, None below two rewards."""

    key: str
    label: str
    about: str
    rate: Rate | None
    reward: Interval | None
    count: int

    @property
    def number(self) -> str:
        """The key number, such as `8/10`."""
        if self.rate is None:
            return 'not judged' if self.count else 'not run'
        return f'{self.rate.successes}/{self.rate.trials}'


@dataclass(frozen=True)
class Verdict:
    """One comparison and what it allows to say; `better` is about the first that was named."""

    question: str
    p_value: float
    better: bool
    detail: str

    @property
    def separable(self) -> bool:
        """Whether chance alone is an unlikely explanation."""
        return self.p_value < SIGNIFICANCE

    @property
    def answer(self) -> str:
        """The verdict in two or three words."""
        if not self.separable:
            return 'Not separable'
        return f'Separable: {"better" if self.better else "worse"}'


@dataclass(frozen=True)
class Findings:
    """What the report says; `pairs` are evaluation trials on one scene, prior alone and policy."""

    groups: tuple[Group, ...]
    pairs: tuple[tuple[Episode, Episode], ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def find(record: RunRecord) -> Findings:
    """Work out all numbers of a run."""
    generator = np.random.default_rng(SEED)
    prior = record.phase(Phase.EVALUATE_PRIOR)
    policy = record.phase(Phase.EVALUATE_POLICY)
    tuned = record.last_tuned
    warm_up = record.phase(Phase.WARM_UP)
    last = f'Last {len(tuned)} of practice' if tuned else 'Last ten of practice'
    groups = tuple(
        _group(key, label, about, episodes, generator)
        for key, label, about, episodes in (
            ('prior', 'Prior alone', 'evaluation, zero residual', prior),
            ('warm_up', 'Warm-up', 'sampling around the prior', warm_up),
            ('last', last, 'still sampling, refitted', tuned),
            ('policy', 'Policy', 'evaluation, after training', policy),
        )
    )
    pairs = same_scenes(prior, policy)
    verdicts = (
        compare_success('Success, policy against prior alone', policy, prior),
        _compare_reward(pairs, generator),
        compare_success('Success, end of practice against warm-up', tuned, warm_up),
    )
    return Findings(
        groups=groups,
        pairs=tuple(pairs),
        verdicts=tuple(verdict for verdict in verdicts if verdict is not None),
        notes=tuple(_notes(record, groups)),
    )


def _group(
    key: str, label: str, about: str, episodes: Sequence[Episode], generator: np.random.Generator
) -> Group:
    given = rewards(episodes)
    return Group(
        key=key,
        label=label,
        about=about,
        rate=Rate.of([episode.success for episode in episodes]),
        reward=bootstrap_mean(given, generator) if len(given) > 1 else None,
        count=len(episodes),
    )


def _scene(episode: Episode) -> tuple[int, str]:
    return episode.scene_seed, episode.object_name


def same_scenes(
    first: Sequence[Episode], second: Sequence[Episode]
) -> list[tuple[Episode, Episode]]:
    """Match trials on the same scene; a scene laid out by hand (seed -1) has no twin."""
    by_scene = {_scene(episode): episode for episode in first if episode.scene_seed >= 0}
    return [
        (by_scene[_scene(episode)], episode) for episode in second if _scene(episode) in by_scene
    ]


def compare_success(
    question: str, first: Sequence[Episode], second: Sequence[Episode]
) -> Verdict | None:
    """Whether the successes of two groups differ; None where one of them was not judged.

    Groups that saw the same scenes, each once, are compared scene by scene.
    """
    one, other = (
        [episode for episode in group if episode.success is not None] for group in (first, second)
    )
    rate, other_rate = (Rate.of([e.success for e in group]) for group in (one, other))
    if rate is None or other_rate is None:
        return None
    pairs = same_scenes(one, other)
    scenes = {_scene(episode) for episode, _ in pairs}
    if len(scenes) == len(pairs) == len(one) == len(other):
        p_value = compare_paired_outcomes([(bool(a.success), bool(b.success)) for a, b in pairs])
        test = f'exact McNemar test on {len(pairs)} shared scenes'
    else:
        p_value = compare_rates(rate, other_rate)
        test = 'exact Fisher test'
    return Verdict(
        question=question,
        p_value=p_value,
        better=rate.value > other_rate.value,
        detail=(
            f'{rate.successes} of {rate.trials} against {other_rate.successes} of '
            f'{other_rate.trials} ({test}, p = {p_value:.2g}).'
        ),
    )


def _compare_reward(
    pairs: Sequence[tuple[Episode, Episode]], generator: np.random.Generator
) -> Verdict | None:
    differences = [
        policy.reward - prior.reward
        for prior, policy in pairs
        if policy.reward is not None and prior.reward is not None
    ]
    if len(differences) < 2:
        return None
    mean = bootstrap_mean(differences, generator)
    p_value = paired_permutation_test(differences, generator)
    return Verdict(
        question='Reward, policy against prior alone',
        p_value=p_value,
        better=mean.value > 0.0,
        detail=(
            f'{mean.value:+.2f} per scene on average, 95% interval {mean.low:+.2f} to '
            f'{mean.high:+.2f} (sign-flip permutation test, p = {p_value:.2g}).'
        ),
    )


def _notes(record: RunRecord, groups: Sequence[Group]) -> Iterator[str]:
    practice = len(record.practice)
    yield from record.damaged
    if practice < DEFAULT_EPISODES:
        place = 'during the warm-up' if practice < DEFAULT_WARM_UP else 'while fine-tuning'
        count = f'{practice} practice episode{"" if practice == 1 else "s"}'
        start = (
            f'The recording stops after {count}, {place}'
            if record.summary is None
            else f'This session has {count}'
        )
        yield (
            f'{start}; the procedure of the paper takes {DEFAULT_EPISODES} '
            f'({DEFAULT_WARM_UP} of them warm-up).'
        )
    if record.policy is None:
        yield 'No policy was trained in this run.'
    trials = {group.key: group.count for group in groups}
    if not trials['policy'] and not trials['prior']:
        yield 'No evaluation trial was run.'
    elif trials['policy'] != trials['prior']:
        yield (
            f'The evaluation is incomplete: {trials["policy"]} trials with the policy, '
            f'{trials["prior"]} with the prior alone.'
        )
    unjudged = sum(episode.success is None for episode in record.episodes)
    if unjudged:
        yield f'Episodes without a judgement of success, left out of rates: {unjudged}.'
    unrewarded = sum(episode.reward is None for episode in record.episodes)
    if unrewarded:
        yield f'Episodes without a reward, left out of means: {unrewarded}.'
    if record.summary is None:
        yield 'There is no summary.json: the session ended before it could write one.'
