# SPDX-License-Identifier: Apache-2.0
"""Compare an optimiser of your own with the default one on the thirty-trial track.

    python examples/own_optimiser.py --task pick_cup --seeds 3

Put yours into `OPTIMISERS`: it practises on a track and returns the 22 numbers to deploy. About
a minute per optimiser and seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deft_cem.optimisers.registry import OptimiserSettings
from deft_core.errors import DeftError
from deft_sim.benchmark.trial_track import TrialTrack

RESULTS = Path(__file__).resolve().parent.parent / 'benchmarks' / 'results' / 'nine_tasks.json'
SETS = ('train', 'test')


def one_plus_one(track: TrialTrack, seed: int) -> npt.ArrayLike:
    """A (1+1) evolution strategy with the one-fifth rule: replace it by yours."""
    rng = np.random.default_rng(seed)
    best, best_score, step = np.zeros(track.sigma.size), -1.0, 1.0
    while track.left > 0:
        residual = best + step * rng.normal(scale=track.sigma)
        score = track.score(residual)
        step *= 1.22 if score >= best_score else 0.95
        if score >= best_score:
            best, best_score = residual, score
    return best


def default(track: TrialTrack, seed: int) -> npt.ArrayLike:
    """What a session searches with."""
    optimiser = OptimiserSettings().make(track.sigma, seed)
    while track.left > 0:
        sample = optimiser.ask()
        optimiser.tell(sample.index, track.score(sample.residual))
    return optimiser.recommendation


OPTIMISERS: dict[str, Callable[[TrialTrack, int], npt.ArrayLike]] = {
    'prior alone': lambda track, _: np.zeros(track.sigma.size),
    'yours: (1+1)-ES': one_plus_one,
    'default': default,
}


def kept_rows(task: str) -> list[tuple[Any, ...]]:
    """Of the benchmark, where it was run: means over seeds."""
    if not RESULTS.is_file():
        return []
    rows = json.loads(RESULTS.read_text(encoding='utf-8'))['measurements']['per_task']

    def share(value: Any) -> float:
        return float(value['mean'] if isinstance(value, dict) else value)

    return [
        (f'{row["method"]} (benchmark)', *(share(row[chosen]) for chosen in SETS), row['seeds'])
        for row in rows
        if row['task'] == task
    ]


def main(arguments: list[str] | None = None) -> int:
    """Practise, try, and print one row for each optimiser."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--task', default='pick_cup')
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--episodes', type=int, default=30, help='scores while practising')
    parser.add_argument('--trials', type=int, default=10, help='afterwards, on each object set')
    options = parser.parse_args(arguments)
    print(f'{"optimiser":32}{"train":>8}{"held out":>10}{"seeds":>7}')
    try:
        for name, practise in OPTIMISERS.items():
            shares = []
            for seed in range(options.seeds):
                numbers = {'episodes': options.episodes, 'trials': options.trials}
                with TrialTrack(options.task, seed, **numbers) as track:
                    tried = track.evaluate(practise(track, seed))
                shares.append([tried[chosen].successes / options.trials for chosen in SETS])
            train, test = np.mean(shares, axis=0)
            print(f'{name:32}{train:8.2f}{test:10.2f}{options.seeds:7}', flush=True)
        for name, train, test, seeds in kept_rows(options.task):
            print(f'{name:32}{train:8.2f}{test:10.2f}{seeds:7}')
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
