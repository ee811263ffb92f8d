# SPDX-License-Identifier: Apache-2.0
"""summary.json: what a session achieved, in a dozen numbers, from its bag and its store."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from scipy import stats

from deft_bag.reader import BAG_FOLDER, BagReader
from deft_cem.session.run_folder import STORE_FILE
from deft_cem.session.store import SessionStore
from deft_core.configuration import config_directory
from deft_core.episode import Episode, Phase
from deft_core.errors import RecordingError
from deft_core.files import write_atomically
from deft_core.task import load_task, task_names

SUMMARY_FILE: Final = 'summary.json'
# What each phase of the evaluation tries.
TRIED: Final = {Phase.EVALUATE_POLICY: 'policy', Phase.EVALUATE_PRIOR: 'prior alone'}
_WINDOW: Final = 10  # episodes; the paper reports over ten trials
_PACKAGES: Final = ('mcap', 'mujoco', 'numpy', 'rosbags', 'scipy', 'torch')


@dataclass
class PeakMemory:
    """Largest sum of resident memory over the processes of a graph."""

    peak: int = 0  # largest sum seen so far [byte]

    def sample(self, root: int) -> int:
        """Add up the process `root` with all its descendants and keep the largest sum.

        Returns:
            The present sum. [byte].
        """
        total = 0
        try:
            process = psutil.Process(root)
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        for member in family:
            try:
                total += int(member.memory_info().rss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                # It ended between listing and asking: it holds no memory now.
                continue
        self.peak = max(self.peak, total)
        return total


def software_versions() -> dict[str, str]:
    """Versions of what the numbers of a run depend on; packages that are absent are left out."""
    versions = {'python': platform.python_version(), 'platform': platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _share(values: Iterable[bool | None]) -> float | None:
    """Share of successes among the judged episodes; None when none was judged."""
    judged = [value for value in values if value is not None]
    return float(np.mean(judged)) if judged else None


def _mean_reward(episodes: Sequence[Episode]) -> float | None:
    rewards = [episode.reward for episode in episodes if episode.reward is not None]
    return float(np.mean(rewards)) if rewards else None


def summarise(
    run_directory: Path, *, peak_rss_bytes: int, software_version: str
) -> dict[str, Any]:
    """Compute the summary of a session from what it left on disk.

    Args:
        run_directory: Folder with bag/ and the session store.
        peak_rss_bytes: Largest memory of all processes together. [byte].
        software_version: Version of DEFT.

    Returns:
        JSON values; a share or mean over no episode is None.

    Raises:
        RecordingError: Bag or store cannot be read, or they do not hold the same episodes.
    """
    episodes = list(BagReader(run_directory / BAG_FOLDER).episodes(pictures=()))
    with SessionStore.read(run_directory / STORE_FILE) as store:
        stored = [episode for episode in store.episodes() if episode.state == 'rewarded']
        config, session_id, wall_s = store.config, store.session_id, store.wall_s
        launches, skipped = store.launches, len(store.skipped())
    rewarded = {episode.episode_id for episode in stored}
    missing = rewarded.symmetric_difference(episode.episode_id for episode in episodes)
    if missing:
        raise RecordingError(
            f'{run_directory}: bag and session store disagree about the episodes '
            f'{", ".join(sorted(missing))}; put back the files that are missing'
        )
    phases = {phase: [e for e in episodes if e.phase is phase] for phase in Phase}
    practice = phases[Phase.WARM_UP] + phases[Phase.FINE_TUNE]
    return {
        'session': session_id,
        'task': config.task,
        'method': config.baseline.value,
        'prior': ', '.join(sorted({episode.prior.source for episode in episodes})),
        'seed': config.seed,
        'episodes': len(practice),
        'evaluation_trials': len(phases[Phase.EVALUATE_POLICY]),
        'prior_trials': len(phases[Phase.EVALUATE_PRIOR]),
        'skipped_episodes': skipped,
        'success_prior': _share(e.success for e in phases[Phase.EVALUATE_PRIOR]),
        'success_warmup': _share(e.success for e in phases[Phase.WARM_UP]),
        'success_last10': _share(e.success for e in practice[-_WINDOW:]),
        'success_evaluation': _share(e.success for e in phases[Phase.EVALUATE_POLICY]),
        'mean_reward_first10': _mean_reward(practice[:_WINDOW]),
        'mean_reward_last10': _mean_reward(practice[-_WINDOW:]),
        'mean_reward_evaluation': _mean_reward(phases[Phase.EVALUATE_POLICY]),
        'mean_reward_prior': _mean_reward(phases[Phase.EVALUATE_PRIOR]),
        'evaluation': _evaluation(
            episodes, str(config.settings.get('evaluation_object_set', 'train'))
        ),
        'wall_s': round(wall_s, 3),
        'launches': len(launches),
        'peak_rss_mb': round(peak_rss_bytes / 1e6, 1),
        'settings': dict(config.settings),
        'software': {'deft': software_version, **software_versions()},
    }


def object_set_of(task: str, object_name: str, otherwise: str) -> str:
    """Set of an object by the task's file."""
    directory = config_directory()
    sets = load_task(task, directory).object_sets if task in task_names(directory) else {}
    return next((name for name, objects in sets.items() if object_name in objects), otherwise)


def _evaluation(episodes: Sequence[Episode], object_set: str) -> list[dict[str, Any]]:
    """Trials by what was tried and on which objects; the rate with its Wilson 95% interval."""
    groups: dict[tuple[str, str], list[Episode]] = {}
    for episode in episodes:
        if episode.phase in TRIED:
            group = object_set_of(episode.task, episode.object_name, object_set)
            groups.setdefault((TRIED[episode.phase], group), []).append(episode)
    return [
        {
            'tried': tried,
            'object_set': group,
            'trials': len(trials),
            'judged': sum(trial.success is not None for trial in trials),
            'successes': sum(trial.success is True for trial in trials),
            'success': _share(trial.success for trial in trials),
            'success_wilson_95': _wilson(trials),
            'mean_reward': _mean_reward(trials),
        }
        for (tried, group), trials in groups.items()
    ]


def _wilson(trials: Sequence[Episode]) -> list[float] | None:
    judged = [trial.success for trial in trials if trial.success is not None]
    if not judged:
        return None
    interval = stats.binomtest(sum(judged), len(judged)).proportion_ci(method='wilson')
    return [float(interval.low), float(interval.high)]


def write_summary(run_directory: Path, summary: dict[str, Any]) -> Path:
    """Write summary.json; it appears whole or not at all.

    Raises:
        RecordingError: The folder cannot be written.
    """
    path = run_directory / SUMMARY_FILE
    write_atomically(path, json.dumps(summary, indent=2, allow_nan=False) + '\n')
    return path
