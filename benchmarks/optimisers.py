# SPDX-License-Identifier: Apache-2.0
"""Which optimiser learns most from 30 episodes? The project's and others', side by side.

On synthetic grasp landscapes (optimisation/landscapes.py) with 60 seeds, with mildly and heavily
noisy scores, and on the simulated cup with 20. All methods meet the same landscapes, objects and
noise; the reward that counts is the true expected one of the residual they recommend.

    python benchmarks/optimisers.py                 # everything, then the result
    python benchmarks/optimisers.py --budget 300    # stop after 5 minutes; run it again
    python benchmarks/optimisers.py --only cem,screened_regression --cup-seeds 0

What is finished is kept in runs/optimisers and not run again with the same code.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from common import interval, print_table, write_result
from optimisation import cup
from optimisation.ablations import ABLATIONS
from optimisation.landscapes import DESCRIPTIONS, EDGES, FAMILIES, HELD_OUT
from optimisation.peers import PEERS, missing_packages
from optimisation.study import (
    NOISES,
    Method,
    ablation_method,
    collect,
    looked_at,
    own_method,
    peer_method,
)

from deft_cem.optimisers.cem import DEFAULT_EPISODES
from deft_cem.optimisers.registry import DEFAULT_METHOD, OptimiserSettings
from deft_core.errors import DeftError

FloatArray = npt.NDArray[np.float64]
COMMAND: Final = 'python benchmarks/optimisers.py'
PAPER: Final = 'cem'
SEEDS: Final = 60
CUP_SEEDS: Final = 20
# Seconds per update: what fits in a night, in steps of five episodes.
SLOW_SEEDS, SLOW_STEP = 4, 5
SLOW: Final = ('gp_bayesian_optimisation', 'turbo_1')
OWN: Final = {name: OptimiserSettings(name) for name in (PAPER, DEFAULT_METHOD)}


def all_methods(seeds: int) -> list[Method]:
    """The project's methods, what they were chosen from, and the peers that are installed."""
    missing = missing_packages()
    if missing:
        print(
            f'not compared, for want of {", ".join(missing)}: '
            f'{", ".join(name for name, (_, package) in PEERS.items() if package in missing)}; '
            'install requirements/benchmarks.txt'
        )
    peers = [
        peer_method(
            name,
            min(SLOW_SEEDS, seeds) if name in SLOW else seeds,
            SLOW_STEP if name in SLOW else 1,
        )
        for name, (_, package) in PEERS.items()
        if package not in missing
    ]
    ablations = [ablation_method(name, seeds) for name in ABLATIONS]
    return (
        [own_method(name, settings, seeds) for name, settings in OWN.items()] + ablations + peers
    )


def final(kept: dict[str, Any], noise: str, families: Sequence[str]) -> FloatArray:
    """True reward after the last episode. Shape (families, seeds)."""
    return np.array([[values[-1] for values in kept[f'{noise} {f}']['values']] for f in families])


def episodes_to(kept: dict[str, Any], noise: str, level: float, step: int) -> int | None:
    """First episode at which the mean over landscapes and seeds reaches a level."""
    curve = np.mean([kept[f'{noise} {family}']['values'] for family in FAMILIES], axis=(0, 1))
    reached = np.flatnonzero(curve >= level)
    return looked_at(step)[int(reached[0])] if reached.size else None


def row(method: Method, kept: dict[str, Any], paper: dict[str, Any], noise: str) -> dict[str, Any]:
    """One line of the comparison; differences to the paper's method are over the same seeds."""
    families = list(FAMILIES)
    values = final(kept, noise, families)
    reference = final(paper, noise, families)[:, : method.seeds]
    difference = values - reference
    worst = int(np.argmin(difference.mean(axis=1)))
    level = float(final(paper, noise, families).mean())
    updates = np.concatenate([np.ravel(part['update_ms']) for part in kept.values()])
    return {
        'method': method.name,
        'seeds': method.seeds,
        'mean_true_reward': interval(values.mean(axis=0)),
        'gain_over_paper': interval(difference.mean(axis=0)),
        'times_paper': float(values.mean() / reference.mean()),
        'episodes_to_paper_level': episodes_to(kept, noise, level, method.step),
        'worst_difference': float(difference.mean(axis=1)[worst]),
        'worst_landscape': families[worst],
        'update_ms': float(np.median(updates)),
    }


def landscape_rows(
    results: dict[str, dict[str, Any]], noise: str, families: Iterable[str] = FAMILIES
) -> list[dict[str, Any]]:
    """Mean true reward per landscape, one column per method."""
    return [
        {'landscape': f'{family}, {DESCRIPTIONS[family]}'}
        | {name: float(final(kept, noise, [family]).mean()) for name, kept in results.items()}
        for family in families
    ]


def cup_rows(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rewards on the simulated cup, one line per method."""
    if len(results[PAPER]) < 2:
        return []

    def trials(name: str, key: str) -> FloatArray:
        return np.array([np.mean(result[key]) for result in results[name]])

    rows = []
    for name, found in results.items():
        line: dict[str, Any] = {'method': name, 'seeds': len(found)}
        line |= {
            'true_reward': interval(trials(name, 'rewards')),
            'gain_over_paper': interval(trials(name, 'rewards') - trials(PAPER, 'rewards')),
            'success': interval(trials(name, 'successes')),
        }
        practised = [result['practice'][-10:] for result in found]
        last = interval(np.mean(practised, axis=1)) if practised[0] else None
        rows.append(line | {'reward_episodes_21_to_30': last})
    return rows


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=SEEDS)
    parser.add_argument('--cup-seeds', type=int, default=CUP_SEEDS)
    parser.add_argument('--only', default='', help='names of methods, with commas; writes nothing')
    parser.add_argument('--budget', type=float, default=float('inf'), help='seconds')
    options = parser.parse_args()
    deadline = time.monotonic() + options.budget
    try:
        methods = all_methods(options.seeds)
        if options.only:
            wanted = {PAPER, DEFAULT_METHOD, *options.only.split(',')}
            methods = [method for method in methods if method.name in wanted]
        results: dict[str, dict[str, Any]] = {}
        for method in methods:
            kept, done = collect(method, deadline)
            if done:
                results[method.name] = kept
            print(f'{method.name}: {"done" if done else "not finished, run again"}', flush=True)
        if not {PAPER, DEFAULT_METHOD} <= results.keys():
            return 0
        finished = [method for method in methods if method.name in results]
        rows = {
            noise: [
                row(method, results[method.name], results[PAPER], noise) for method in finished
            ]
            for noise in NOISES
        }
        for noise in NOISES:
            print(f'{noise} noise of the scores')
            print_table(rows[noise])
        found = cup.collect(OWN, options.cup_seeds, deadline)
        on_the_cup = cup_rows(found)
        if on_the_cup:
            print_table(on_the_cup)
        if not options.only:
            write(options.seeds, rows, results, on_the_cup)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


def write(
    seeds: int,
    rows: dict[str, list[dict[str, Any]]],
    results: dict[str, dict[str, Any]],
    on_the_cup: list[dict[str, Any]],
) -> None:
    """Write the result; methods that are not finished or not installed are named in it."""
    tuned_on = [family for family in FAMILIES if family not in HELD_OUT]
    measurements: dict[str, Any] = {
        'episodes': DEFAULT_EPISODES,
        'seeds': seeds,
        'default_method': DEFAULT_METHOD,
        'landscapes_held_out': ', '.join(HELD_OUT),
    }
    for name in (PAPER, DEFAULT_METHOD):
        for noise in NOISES:
            values = final(results[name], noise, tuned_on).mean(axis=0)
            measurements[f'{name}_on_L1_to_L9_{noise}'] = interval(values)
    for noise in NOISES:
        paper, default = (
            final(results[name], noise, HELD_OUT).mean() for name in (PAPER, DEFAULT_METHOD)
        )
        measurements[f'times_paper_on_held_out_{noise}'] = default / paper
    packages = sorted({package for _, package in PEERS.values()} - set(missing_packages()))
    if packages:
        versions = [f'{package} {importlib.metadata.version(package)}' for package in packages]
        measurements['peers_from'] = ', '.join(versions)
    absent = [name for name in (*OWN, *ABLATIONS, *PEERS) if name not in results]
    if absent:
        measurements['not_measured'] = ', '.join(absent)
    for noise in NOISES:
        measurements[f'methods_{noise}'] = rows[noise]
        measurements[f'landscapes_{noise}'] = landscape_rows(results, noise)
        measurements[f'optimum_at_the_edge_{noise}'] = landscape_rows(results, noise, EDGES)
    if on_the_cup:
        measurements['simulated_cup'] = on_the_cup
    write_result('optimisers', measurements, COMMAND)


if __name__ == '__main__':
    sys.exit(main())
