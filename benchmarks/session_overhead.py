# SPDX-License-Identifier: Apache-2.0
"""What the software itself adds to an episode, from the store of a session.

At every moment of an episode the session waits for exactly one thing: the robot's motion, the next
picture of the camera (or state of the robot), the operator, or software (planning, segmentation,
prediction, commits to the disk, messages between the nodes). Only the last is the overhead; the
other three are listed beside it. The session is a short one of the simulated cell in real time,
with the geometric segmentation. The simulator runs on the same machine but stands for the robot,
and must not take time from what is measured: where the system allows it, as for root, the nodes
run at real-time priority and the simulator at normal one. The result says how it was.

    python benchmarks/session_overhead.py              # run a session and measure
    python benchmarks/session_overhead.py --run DIR    # measure a session that was run before
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from common import print_table, write_result

from deft_cem.session.episode_timing import Stretch, overhead_spread, timing_table
from deft_cem.session.record import SessionRecord
from deft_cem.session.run_folder import STORE_FILE
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError, RecordingError

COMMAND: Final = 'python benchmarks/session_overhead.py'
# In real time, as on a robot: a faster simulator takes the processor from what is measured.
REAL_TIME_FACTOR: Final = 1.0
ARGUMENTS: Final = ('episodes:=12', 'warm_up:=6', 'evaluation_trials:=4')
TIMEOUT_S: Final = 1800.0
SIMULATOR: Final = re.compile(r'\[launch\] simulation_node-\d+: process started with pid (\d+)')


def claim_real_time() -> bool:
    """Let the processes that are started from now on run before all others, where allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    except PermissionError:
        return False
    return True


def run_session(folder: Path) -> None:
    """Run a short session in simulation.

    Args:
        folder: Folder of the run.

    Raises:
        RecordingError: It did not come to its end.
    """
    command = [sys.executable, '-m', 'deft_bringup', 'launch', 'fine_tune.launch.xml']
    # A domain of its own: another graph on this machine must neither hear nor slow this one.
    environment = {**os.environ, 'DEFT_LAUNCH': 'own', 'ROS_DOMAIN_ID': str(1 + os.getpid() % 100)}
    end = time.monotonic() + TIMEOUT_S
    with subprocess.Popen(
        [*command, f'run:={folder}', f'real_time_factor:={REAL_TIME_FACTOR}', *ARGUMENTS],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as session:
        assert session.stdout is not None
        for line in session.stdout:
            print(line, end='', flush=True)
            if (started := SIMULATOR.match(line)) is not None:
                os.sched_setscheduler(int(started[1]), os.SCHED_OTHER, os.sched_param(0))
            if time.monotonic() > end:
                session.terminate()
                raise RecordingError(f'the session took over {TIMEOUT_S:.0f} s')
    if session.returncode != 0:
        raise RecordingError(f'the session ended with exit code {session.returncode}')


def episodes_of(run: Path) -> list[list[Stretch]]:
    """Where the time of each rated episode went.

    Args:
        run: Folder of a session.

    Raises:
        DeftError: There is no store, or one without times.
    """
    with SessionRecord.open(run / STORE_FILE) as record:
        timings = record.timings()
    if len(timings) < 2:
        raise RecordingError(f'{run.name} holds the times of {len(timings)} episodes, needs two')
    return [timings[number] for number in sorted(timings)]


def measure(episodes: Sequence[Sequence[Stretch]]) -> dict[str, Any]:
    """Spread of the overhead, and of every part of an episode.

    Args:
        episodes: Stretches of each episode, at least one.
    """
    spread = overhead_spread(episodes)
    assert spread is not None, 'measured without episodes'
    rows = timing_table(episodes)
    software = [_without_kind(row) for row in rows if row['kind'] == 'software']
    waits = [
        {'waits_for': row['kind'], **_without_kind(row)}
        for row in rows
        if row['kind'] != 'software'
    ]
    return {
        'p95_s': spread['p95_s'],
        'median_s': spread['median_s'],
        'episodes': spread['episodes'],
        'camera_period_s': camera_period(),
        'software_by_part': software,
        'waits_outside_the_software': waits,
    }


def _without_kind(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != 'kind'}


def camera_period() -> float:
    """Real time between two pictures of the simulated camera. [s].

    Raises:
        ConfigurationError: The parameter file of the simulation is not as expected.
    """
    path = config_directory() / 'nodes' / 'simulation.yaml'
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))['simulation']['ros__parameters']
        return 1.0 / (float(values['camera_rate']) * REAL_TIME_FACTOR)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f'{path.name} has no camera rate: {error}') from error


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--run', type=Path, help='folder of a session; without, one is run')
    options = parser.parse_args()
    try:
        if options.run is not None:
            episodes = episodes_of(options.run)
        else:
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / 'run'
                real_time = claim_real_time()
                run_session(run)
                episodes = episodes_of(run)
        measurements = measure(episodes)
        if options.run is None:
            measurements['nodes_at_real_time_priority'] = real_time
        print_table([{key: measurements[key] for key in ('p95_s', 'median_s', 'episodes')}])
        for table in ('software_by_part', 'waits_outside_the_software'):
            print()
            print_table(measurements[table])
        write_result('session_overhead', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
