# SPDX-License-Identifier: Apache-2.0
"""The paper's tables in simulation: methods x tasks x seeds, ten trials on either object set.

A cell is one task, one way to practise and one seed; it is measured in its own process, kept in
runs/nine_tasks and not run again with the same settings. Whatever learns from the same practice is
tried on the same fresh scenes, so the methods are paired within a seed.

    python benchmarks/nine_tasks.py                         # everything, then the result
    python benchmarks/nine_tasks.py --tasks pick_cup --seeds 1
    python benchmarks/nine_tasks.py --budget 600            # begin no cell after 10 minutes
    python benchmarks/nine_tasks.py --ray auto              # the same cells on a Ray cluster

| practice | prior | optimiser | tried afterwards |
|---|---|---|---|
| `floors` | geometric | none | affordance only (zero residual), random residual, expert |
| `real_world_only` | heuristic | the paper's CEM | its conditional VAE |
| `paper` | geometric | the paper's CEM | conditional VAE, MLP, transformer, direct estimation |
| `default` | geometric | ours | what is deployed; the recommendation after 12 and 30 episodes |
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from common import interval, print_table, write_result
from practice import Practice, at_random, constant, practise, trained

from deft_cem.optimisers.registry import OptimiserSettings
from deft_cem.settings import LearningSettings, load_learning_settings
from deft_core.configuration import config_directory
from deft_core.errors import DeftError, TrainingError
from deft_core.grasp import GRASP_DIMENSION
from deft_sim.benchmark.episodes import HELD_OUT, TRAIN, run_trials, trial_scenes
from deft_sim.tasks import simulated_tasks

KEPT: Final = Path(__file__).resolve().parent.parent / 'runs' / 'nine_tasks'
COMMAND: Final = 'python benchmarks/nine_tasks.py'
EARLY: Final = 12  # [episodes] by which the default optimiser shall be done
PRACTICES: Final = ('floors', 'real_world_only', 'paper', 'default')
INHERITED: Final = (  # what workers of a cluster are given of this environment
    'AMENT_PREFIX_PATH', 'DEFT_CONFIG', 'LD_LIBRARY_PATH', 'MUJOCO_GL', 'OMP_NUM_THREADS',
)  # fmt: skip
POLICIES: Final = {  # of the paper's practice: the method and its ablations (Table 3)
    'deft_paper': 'residual_vae',
    'mlp': 'mlp',
    'transformer': 'transformer',
    'direct': 'direct',
}
# Successes of the paper (Tables 2 and 3), of 10: on training and on unseen objects.
PAPER: Final[dict[str, dict[str, tuple[float | None, float]]]] = {
    'real_world_only': {
        'pick_cup': (0.0, 0.1), 'pour_cup': (0.2, 0.1), 'open_drawer': (0.1, 0.0),
        'pick_spoon': (0.7, 0.3), 'scoop_grape': (0.0, 0.0), 'stir_spoon': (0.3, 0.0),
    },
    'affordance_only': {
        'pick_cup': (None, 0.1), 'pour_cup': (None, 0.4), 'open_drawer': (None, 0.5),
        'pick_spoon': (None, 0.5), 'scoop_grape': (None, 0.0), 'stir_spoon': (None, 0.3),
    },
    'deft_paper': {
        'pick_cup': (0.8, 0.8), 'pour_cup': (0.8, 0.9), 'open_drawer': (0.5, 0.4),
        'pick_spoon': (0.8, 0.6), 'scoop_grape': (0.7, 0.3), 'stir_spoon': (0.8, 0.5),
    },
    'mlp': {'pour_cup': (0.0, 0.0), 'open_drawer': (0.5, 0.0), 'pick_spoon': (0.6, 0.5)},
    'transformer': {'pour_cup': (0.4, 0.5), 'open_drawer': (0.6, 0.1), 'pick_spoon': (0.4, 0.5)},
    'direct': {'pour_cup': (0.1, 0.1), 'open_drawer': (0.1, 0.0), 'pick_spoon': (0.3, 0.0)},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cell:
    """One task, practised in one way with one seed."""

    task: str
    practice: str
    seed: int

    def path(self, settings: LearningSettings) -> Path:
        """Where its result is kept: the folder names everything that it depends on."""
        return KEPT / fingerprint(self.task, settings) / f'{self.practice}_{self.seed:03d}.json'


def fingerprint(task: str, settings: LearningSettings) -> str:
    """Of the settings, the configuration of the cell, and the code of the task's room."""
    digest = hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True).encode())
    folder = config_directory()
    for part in ('arms', 'hands', 'simulation', 'calibration'):
        for path in sorted((folder / part).iterdir()):
            digest.update(path.read_bytes())
    for name in (f'tasks/{task}.yaml', f'trajectories/{task}.json'):
        digest.update((folder / name).read_bytes())
    room = Path(sys.modules['deft_sim.tasks'].__path__[0]) / f'{task}.py'
    digest.update(room.read_bytes())
    return f'{task}_{digest.hexdigest()[:16]}'


def run_cell(cell: Cell, settings: LearningSettings) -> dict[str, Any]:
    """Practise and try; the scenes depend on the seed alone, so practices are paired."""
    fresh, scenes = trial_scenes(cell.seed, settings.evaluation_trials)
    paper = dataclasses.replace(settings, optimiser=OptimiserSettings(method='cem'))
    heuristic = cell.practice == 'real_world_only'
    practice = Practice(cell.task, 'heuristic' if heuristic else 'geometric')
    result: dict[str, Any] = {**dataclasses.asdict(cell), 'tried': {}}

    def attempt(name: str, decide: Any) -> None:
        result['tried'][name] = {
            chosen: dataclasses.asdict(run_trials(practice, fresh, chosen, decide))
            for chosen in (TRAIN, HELD_OUT)
        }

    def attempt_policy(name: str, method: str, chosen: LearningSettings) -> None:
        try:
            decide, kind = trained(episodes, chosen, method, cell.seed)
        except TrainingError as error:
            result.setdefault('failures', {})[name] = str(error)
            return
        attempt(name, decide)
        result['tried'][name]['deployed'] = kind

    try:
        if cell.practice == 'floors':
            attempt('affordance_only', constant(np.zeros(GRASP_DIMENSION)))
            attempt('random', at_random(settings.initial_std, np.random.default_rng(cell.seed)))
            result['tried']['expert'] = {
                chosen: {
                    'successes': sum(practice.expert_succeeds(seed, chosen) for seed in fresh),
                    'trials': len(fresh),
                }
                for chosen in (TRAIN, HELD_OUT)
            }
            return result
        searched = settings if cell.practice == 'default' else paper
        episodes, optimiser = practise(practice, searched, cell.seed, scenes)
        result['rewards'] = [episode.reward for episode in episodes]
        result['successes'] = [bool(episode.success) for episode in episodes]
        if heuristic:
            attempt_policy('real_world_only', 'residual_vae', paper)
        elif cell.practice == 'paper':
            for name, method in POLICIES.items():
                attempt_policy(name, method, paper)
        else:
            attempt_policy('deft_default', 'auto', settings)
            residual = np.stack([episode.residual.to_vector() for episode in episodes])
            reward = np.array(result['rewards'])
            early = optimiser.fit(residual[:EARLY], reward[:EARLY]).recommendation
            attempt('recommendation_12', constant(early))
            attempt('recommendation_30', constant(optimiser.recommendation))
        return result
    finally:
        practice.close()


def run_and_keep(cell: Cell, settings: LearningSettings) -> dict[str, Any]:
    """`run_cell`, kept whole or not at all."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    began = time.monotonic()
    result = run_cell(cell, settings)
    result['duration_s'] = time.monotonic() - began
    path = cell.path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f'.{os.getpid()}.part')
    unfinished.write_text(json.dumps(result), encoding='utf-8')
    unfinished.replace(path)
    return result


def on_this_machine(
    work: Callable[[Cell], dict[str, Any]], cells: Sequence[Cell], processes: int, budget: float
) -> Iterator[dict[str, Any]]:
    """Results as they come, from processes of this machine; none is begun after the budget [s]."""
    with ProcessPoolExecutor(processes, max_tasks_per_child=4) as pool:
        yield from as_they_come(lambda cell: pool.submit(work, cell), cells, processes, budget)


def on_a_cluster(
    work: Callable[[Cell], dict[str, Any]],
    cells: Sequence[Cell],
    address: str,
    processes: int,
    budget: float,
) -> Iterator[dict[str, Any]]:
    """Results as they come, from the workers of a Ray cluster.

    Its machines see this checkout, its environment and `runs/` under the same paths; one cell
    runs on one core, and anew on another where its worker dies.

    Args:
        work: Measures and keeps one cell.
        cells: To be measured.
        address: Of the cluster; 'local' starts one on this machine.
        processes: Workers of a local cluster; another one has as many as it has cores.
        budget: No cell is begun after it. [s].

    Raises:
        DeftError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray  # noqa: PLC0415
    except ImportError as error:
        raise DeftError(
            'Ray is not installed; pip install -r requirements/cluster.txt, or leave --ray out.'
        ) from error
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    # Workers import what this process can import, and find the same configuration.
    shared = {name: os.environ[name] for name in INHERITED if name in os.environ}
    shared['PYTHONPATH'] = os.pathsep.join(path for path in sys.path if path)
    try:
        ray.init(
            address=address,
            num_cpus=processes if address == 'local' else None,
            include_dashboard=False if address == 'local' else None,
            log_to_driver=False,
            runtime_env={'env_vars': shared},
        )
    except (ConnectionError, ValueError) as error:
        raise DeftError(
            f'There is no Ray cluster at {address!r}; start one with `ray start --head`, or say '
            f'--ray local. Cause: {str(error).splitlines()[0]}'
        ) from error

    @ray.remote(num_cpus=1, max_retries=2)
    def measured(cell: Cell) -> dict[str, Any]:
        return work(cell)

    try:
        workers = int(ray.cluster_resources()['CPU'])
        yield from as_they_come(
            lambda cell: measured.remote(cell).future(), cells, workers, budget
        )
    finally:
        ray.shutdown()


def as_they_come(
    submit: Callable[[Cell], Future[dict[str, Any]]],
    cells: Sequence[Cell],
    workers: int,
    budget: float,
) -> Iterator[dict[str, Any]]:
    """Results in the order in which they are done; so many cells are in work as workers."""
    end = time.monotonic() + budget
    waiting = deque(cells)
    running = {submit(waiting.popleft()) for _ in range(min(workers, len(waiting)))}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            if waiting and time.monotonic() < end:
                running.add(submit(waiting.popleft()))
            yield future.result()


def kept_results(cells: Iterable[Cell], settings: LearningSettings) -> list[dict[str, Any]]:
    """Of the cells that were measured with these settings."""
    paths = [cell.path(settings) for cell in cells]
    return [json.loads(path.read_text(encoding='utf-8')) for path in paths if path.is_file()]


def share(tried: dict[str, Any], chosen: str) -> float:
    """Successes over trials."""
    return float(tried[chosen]['successes'] / tried[chosen]['trials'])


def measure(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Per task and over the tasks; intervals are over seeds.

    Args:
        results: Of `run_cell`.
    """
    tasks = sorted({result['task'] for result in results})
    table: dict[tuple[str, str, str], dict[int, float]] = {}
    for result in results:
        for name, tried in result['tried'].items():
            for chosen in (TRAIN, HELD_OUT):
                of_seeds = table.setdefault((result['task'], name, chosen), {})
                of_seeds[result['seed']] = share(tried, chosen)
    methods = list(dict.fromkeys(name for _, name, _ in table))
    rows = []
    for task in tasks:
        for name in methods:
            if (task, name, TRAIN) not in table:
                continue
            paper = PAPER.get(name, {}).get(task)
            rows.append(
                {
                    'task': task,
                    'method': name,
                    'train': _over(list(table[task, name, TRAIN].values())),
                    'test': _over(list(table[task, name, HELD_OUT].values())),
                    'paper_train': '' if paper is None or paper[0] is None else paper[0],
                    'paper_test': '' if paper is None else paper[1],
                    'seeds': len(table[task, name, TRAIN]),
                }
            )

    def means(name: str, chosen: str) -> npt.NDArray[np.float64]:
        """Mean over tasks, per seed that has all tasks."""
        of_tasks = [table.get((task, name, chosen), {}) for task in tasks]
        seeds = set.intersection(*(set(values) for values in of_tasks))
        return np.array([np.mean([values[s] for values in of_tasks]) for s in sorted(seeds)])

    over_tasks = [
        {
            'method': name,
            'success_train': _over(means(name, TRAIN)),
            'success_test': _over(means(name, HELD_OUT)),
        }
        for name in methods
        if len(means(name, TRAIN)) > 0
    ]
    best, paper_way = means('deft_default', TRAIN), means('deft_paper', TRAIN)
    measurements: dict[str, Any] = {
        'tasks': len(tasks),
        'success_train': _over(best),
        'success_test': _over(means('deft_default', HELD_OUT)),
        'success_prior': _over(means('affordance_only', TRAIN)),
        'tasks_at_paper_level_by_12': _early(table, tasks),
    }
    if len(best) == len(paper_way) and len(best) > 0:
        measurements['gain_over_paper'] = _over(best - paper_way)
    measurements |= {'means_over_tasks': over_tasks, 'per_task': rows}
    measurements['practice'] = list(_curves(results, tasks))
    measurements['slowest_cell_s'] = max(result['duration_s'] for result in results)
    measurements['deployed'] = _deployed(results)
    return measurements


def _over(values: Sequence[float] | npt.NDArray[np.float64]) -> Any:
    """Interval over seeds; a plain number where there is one seed."""
    if len(values) == 0:
        return ''
    return float(np.mean(values)) if len(values) < 2 else interval(values)


def _early(table: dict[tuple[str, str, str], dict[int, float]], tasks: list[str]) -> int:
    """Tasks on which 12 episodes already reach what 30 do, on training objects."""
    return sum(
        float(np.mean(list(table[task, 'recommendation_12', TRAIN].values())))
        >= float(np.mean(list(table[task, 'recommendation_30', TRAIN].values()))) - 0.05
        for task in tasks
        if (task, 'recommendation_12', TRAIN) in table
    )


def _curves(results: list[dict[str, Any]], tasks: list[str]) -> Iterator[dict[str, Any]]:
    """Reward and success in thirds of practice (Figure 6)."""
    for task in tasks:
        for practice in PRACTICES[1:]:
            runs = [r for r in results if (r['task'], r['practice']) == (task, practice)]
            if not runs:
                continue
            rewards = np.array([r['rewards'] for r in runs])
            successes = np.array([r['successes'] for r in runs], dtype=float)
            thirds = np.array_split(np.arange(rewards.shape[1]), 3)
            row: dict[str, Any] = {'task': task, 'practice': practice}
            for name, values in (('reward', rewards), ('success', successes)):
                for number, third in enumerate(thirds, 1):
                    row[f'{name}_{number}'] = float(values[:, third].mean())
            yield row


def _deployed(results: list[dict[str, Any]]) -> str:
    """How often which kind of policy was deployed by default."""
    kinds = [
        result['tried']['deft_default']['deployed']
        for result in results
        if 'deft_default' in result['tried']
    ]
    return ', '.join(f'{kind} {kinds.count(kind)}' for kind in sorted(set(kinds))) or 'none'


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--tasks', nargs='+', default=simulated_tasks(), metavar='TASK')
    parser.add_argument('--practices', nargs='+', default=PRACTICES, choices=PRACTICES)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--processes', type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument('--budget', type=float, default=float('inf'), help='seconds')
    parser.add_argument('--ray', metavar='ADDRESS', help="of a cluster; 'local' starts one")
    options = parser.parse_args()
    try:
        settings = load_learning_settings()
        cells = [
            Cell(task, practice, seed)
            for seed in range(options.seeds)
            for task in options.tasks
            for practice in options.practices
        ]
        missing = [cell for cell in cells if not cell.path(settings).is_file()]
        work = partial(run_and_keep, settings=settings)
        if options.ray:
            stream = on_a_cluster(work, missing, options.ray, options.processes, options.budget)
        else:
            stream = on_this_machine(work, missing, options.processes, options.budget)
        for count, result in enumerate(stream, 1):
            tried = ', '.join(
                f'{name} {share(of, TRAIN):.1f}/{share(of, HELD_OUT):.1f}'
                for name, of in result['tried'].items()
            )
            print(
                f'[{count}/{len(missing)}] {result["task"]} {result["practice"]} '
                f'seed {result["seed"]} in {result["duration_s"]:.0f} s: {tried}',
                flush=True,
            )
        results = kept_results(cells, settings)
        if results:
            measurements = measure(results)
            print_table(measurements['per_task'])
            print()
            print_table(measurements['means_over_tasks'])
        if len(results) < len(cells):
            print(f'{len(results)} of {len(cells)} cells are measured; run again for the rest')
            return 0
        write_result('nine_tasks', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
