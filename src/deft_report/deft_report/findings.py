# SPDX-License-Identifier: Apache-2.0
"""The numbers of a session and what they allow to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deft_cem.optimisers.paper_parameters import DEFAULT_EPISODES, DEFAULT_WARM_UP
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
    """One block of episodes as the report names it.

    Attributes:
        key: Name in the charts' data and in style sheets.
        label: Name for people.
        about: How its episodes were run, in a few words.
        rate: Success; None when no episode of the block was judged.
        reward: Mean reward with bootstrap interval; None below two rewards.
        count: Number of episodes, judged or not.
    """

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
class Pair:
    """The two evaluation trials of one scene.

    Attributes:
        prior: Trial with the prior alone.
        policy: Trial with the policy.
    """

    prior: Episode
    policy: Episode


@dataclass(frozen=True)
class Verdict:
    """One comparison and what it allows to say.

    Attributes:
        question: What is compared with what.
        p_value: Of an exact test.
        better: Whether the first named did better.
        detail: The counts behind it and the test.
    """

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
    """What the report says in words and figures.

    Attributes:
        groups: Prior alone, warm-up, last ten, policy.
        pairs: Evaluation trials that share a scene.
        verdicts: What is and what is not separable.
        notes: What is missing from this run, one sentence each.
    """

    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def find(record: RunRecord) -> Findings:
    """Work out all numbers of a run."""
    generator = np.random.default_rng(SEED)
    prior = record.phase(Phase.EVALUATE_PRIOR)
    policy = record.phase(Phase.EVALUATE_POLICY)
    tuned = record.last_tuned
    groups = (
        _group('prior', 'Prior alone', 'evaluation, zero residual', prior, generator),
        _group(
            'warm_up',
            'Warm-up',
            'sampling around the prior',
            record.phase(Phase.WARM_UP),
            generator,
        ),
        _group(
            'last',
            f'Last {len(tuned)} of practice' if tuned else 'Last ten of practice',
            'still sampling, refitted',
            tuned,
            generator,
        ),
        _group('policy', 'Policy', 'evaluation, after training', policy, generator),
    )
    pairs = _pairs(prior, policy)
    return Findings(
        groups=groups,
        pairs=pairs,
        verdicts=tuple(_verdicts(groups, pairs, generator)),
        notes=tuple(_notes(record, groups)),
    )


def _group(
    key: str,
    label: str,
    about: str,
    episodes: Sequence[Episode],
    generator: np.random.Generator,
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


def _pairs(prior: Sequence[Episode], policy: Sequence[Episode]) -> tuple[Pair, ...]:
    """Match trials on the same scene; a scene laid out by hand (seed -1) has no twin."""
    by_scene = {
        (episode.scene_seed, episode.object_name): episode
        for episode in prior
        if episode.scene_seed >= 0
    }
    matched = []
    for episode in policy:
        twin = by_scene.get((episode.scene_seed, episode.object_name))
        if twin is not None:
            matched.append(Pair(prior=twin, policy=episode))
    return tuple(matched)


def _verdicts(
    groups: Sequence[Group], pairs: Sequence[Pair], generator: np.random.Generator
) -> Iterator[Verdict]:
    prior, warm_up, last, policy = (group.rate for group in groups)
    judged = [
        (pair.prior.success, pair.policy.success)
        for pair in pairs
        if pair.prior.success is not None and pair.policy.success is not None
    ]
    if judged:
        yield _paired_success(judged)
    elif prior is not None and policy is not None:
        yield _unpaired_success('Success, policy against prior alone', policy, prior)
    differences = [
        pair.policy.reward - pair.prior.reward
        for pair in pairs
        if pair.policy.reward is not None and pair.prior.reward is not None
    ]
    if len(differences) > 1:
        yield _paired_reward(differences, generator)
    if warm_up is not None and last is not None:
        yield _unpaired_success('Success, end of practice against warm-up', last, warm_up)


def _paired_success(judged: Sequence[tuple[bool, bool]]) -> Verdict:
    gains = sum(1 for before, after in judged if after and not before)
    losses = sum(1 for before, after in judged if before and not after)
    p_value = compare_paired_outcomes(judged)
    return Verdict(
        question='Success, policy against prior alone',
        p_value=p_value,
        better=gains > losses,
        detail=(
            f'Of {len(judged)} shared scenes, {gains} succeed with the policy only and {losses} '
            f'with the prior only (exact McNemar test, p = {p_value:.2g}).'
        ),
    )


def _paired_reward(differences: Sequence[float], generator: np.random.Generator) -> Verdict:
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


def _unpaired_success(question: str, rate: Rate, other: Rate) -> Verdict:
    p_value = compare_rates(rate, other)
    return Verdict(
        question=question,
        p_value=p_value,
        better=rate.value > other.value,
        detail=(
            f'{rate.successes} of {rate.trials} against {other.successes} of {other.trials} '
            f'(exact Fisher test, p = {p_value:.2g}).'
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
