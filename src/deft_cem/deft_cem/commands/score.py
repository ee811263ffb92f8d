# SPDX-License-Identifier: Apache-2.0
"""`deft score RUN`: how well a visual reward orders the episodes that a person scored."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from deft_bag.dataset import PRACTICE
from deft_bag.reader import BagReader, bag_of
from deft_cem.encoders.registry import ENCODERS, make_encoder
from deft_cem.rewards.agreement import MINIMUM_EPISODES, Agreement, agreement
from deft_cem.rewards.visual import GoalDistance, default_paths, load_image
from deft_core.configuration import config_directory
from deft_core.episode import Episode
from deft_core.errors import ConfigurationError, RecordingError

_SEED: Final = 0  # of the bootstrap: the same run must give the same line
# Nobody looked at these: the motion was not possible and the session itself gave 0.
_UNSEEN: Final = 'outcome'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `deft score` takes."""
    parser.description = (
        'Measure the distance of every last image to the goal image and compare the order of '
        'the episodes with that of the rewards a person gave. Do this before you let a visual '
        'reward teach.'
    )
    parser.add_argument(
        'run', type=Path, metavar='RUN', help='folder of a run, of a bag, or an .mcap file'
    )
    parser.add_argument(
        '--encoder',
        choices=tuple(ENCODERS),
        default='gradient_color_1',
        help='image encoder; all but the default need weights (default %(default)s)',
    )
    parser.add_argument('--weights', type=Path, metavar='DIR', help='folder of weights files')
    parser.add_argument(
        '--goal', type=Path, metavar='FILE', help='goal image (config/goals/TASK_goal.jpg)'
    )
    parser.add_argument(
        '--start', type=Path, metavar='FILE', help='start image (config/goals/TASK_start.jpg)'
    )


def main(arguments: argparse.Namespace) -> int:
    """Print the agreement over practice, over the evaluation, and over both."""
    reader = BagReader(bag_of(arguments.run))
    episodes = [
        e
        for e in reader.episodes(pictures=())
        if e.reward is not None and e.reward_source != _UNSEEN
    ]
    if len(episodes) < MINIMUM_EPISODES:
        raise RecordingError(
            f'{arguments.run} holds {len(episodes)} episodes that somebody scored, a comparison '
            f'needs at least {MINIMUM_EPISODES}'
        )
    goal_path, start_path = _anchors(episodes, arguments.goal, arguments.start)
    encoder = make_encoder(arguments.encoder, arguments.weights)
    goal = GoalDistance(encoder, load_image(goal_path), load_image(start_path))
    scored = {e.episode_id for e in episodes}
    distances = {
        e.episode_id: goal.distance(e.last_image)
        for e in reader.episodes(pictures=('last_image',))
        if e.episode_id in scored
    }
    print(f'encoder {encoder.name}; distance {goal.span:.3g} from start image to goal image')
    print('episodes        n  rank correlation         reward: looks best / all / is best')
    practice = [e for e in episodes if e.phase in PRACTICE]
    trials = [e for e in episodes if e.phase not in PRACTICE]
    for name, group in (('practice', practice), ('evaluation', trials), ('all', episodes)):
        if len(group) >= MINIMUM_EPISODES:
            visual = [-distances[e.episode_id] for e in group]
            given = [e.reward for e in group if e.reward is not None]
            print(_line(name, agreement(visual, given, np.random.default_rng(_SEED))))
    scores = [goal.score(distance) for distance in distances.values()]
    print(f'visual scores from {min(scores):.2f} to {max(scores):.2f}; {_floor(scores)} at 0')
    return 0


def _anchors(
    episodes: Sequence[Episode], goal: Path | None, start: Path | None
) -> tuple[Path, Path]:
    tasks = sorted({e.task for e in episodes})
    if len(tasks) > 1:
        raise ConfigurationError(f'the bag mixes tasks ({", ".join(tasks)}); they share no goal')
    if goal is not None and start is not None:
        return goal, start
    default_goal, default_start = default_paths(tasks[0], config_directory())
    return goal or default_goal, start or default_start


def _floor(scores: Iterable[float]) -> int:
    return sum(score == 0.0 for score in scores)


def _line(name: str, found: Agreement) -> str:
    low, high = found.interval
    interval = f'({low:+.2f} to {high:+.2f})'
    return (
        f'{name:12} {found.episodes:4d}  {found.correlation:+.2f} {interval:18}  '
        f'{found.best_mean:.2f} / {found.all_mean:.2f} / {found.ideal_mean:.2f}'
    )
