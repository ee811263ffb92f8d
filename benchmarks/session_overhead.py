# SPDX-License-Identifier: Apache-2.0
"""What the software itself adds to an episode, seen from outside the session.

The streams that the recorder notes beside a session say when the session changed its state, when
a picture of the camera came and when the arm moved. Three stretches of an episode are software:

- look: from the first picture after the scene is laid out to the first motion of the grasp
  (segmentation, prediction, the commit of the sample, planning);
- end: from the first picture after the grasp has ended to the request for a score;
- score: from the arrival of a score, which is the publish time of the episode in the bag, to the
  first motion of the way home, with which the hand opens (the commit of the episode to bag and
  store, the refit, planning).

Waiting for the camera is not in it, nor are motion and settling of the arm and what the operator
takes to score, which is told beside it; messages between the nodes are. Times are those of the
ROS clock, which a simulation publishes every 20 ms, so each stretch may be off by that much. The
session is a short one of the simulated cell in real time, with the geometric segmentation. The
simulator runs on the same machine but stands for the robot, and must not take time from what is
measured: where the system allows it, as for root, the nodes run at real-time priority and the
simulator at normal one.

    python benchmarks/session_overhead.py              # run a session and measure
    python benchmarks/session_overhead.py --run DIR    # measure one that was run in real time
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from common import print_table, write_result
from mcap.reader import make_reader

from deft_bag.message_types import message_typestore
from deft_bag.reader import BagReader, bag_files, bag_of
from deft_core.configuration import config_directory
from deft_core.episode import Episode, Outcome
from deft_core.errors import ConfigurationError, DeftError, RecordingError
from deft_core.files import read_yaml

COMMAND: Final = 'python benchmarks/session_overhead.py'
# In real time, as on a robot: a faster simulator takes the processor from what is measured.
REAL_TIME_FACTOR: Final = 1.0
PARTS: Final = ('look', 'end', 'score')
PERSON: Final = 'person'  # what is no part
STATUS: Final = '/session/status'
CAMERA: Final = '/camera/camera/color/camera_info'
HAND: Final = '/hand/state'
JOINTS: Final = ('/xarm/joint_states', '/joint_states')
MOVING: Final = 0.02  # [rad/s]; what a joint at rest does not reach
ARGUMENTS: Final = ('episodes:=12', 'warm_up:=6', 'evaluation_trials:=4')
SMOKE: Final = ('episodes:=5', 'warm_up:=3', 'evaluation_trials:=0')
TIMEOUT_S: Final = 1800.0
SIMULATOR: Final = re.compile(r'\[launch\] simulation_node-\d+: process started with pid (\d+)')


def claim_real_time() -> bool:
    """Let the processes that are started from now on run before all others, where allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
    except PermissionError:
        return False
    return True


def run_session(folder: Path, arguments: Sequence[str]) -> None:
    """Run a short session in simulation.

    Args:
        folder: Folder of the run.
        arguments: Of the launch file.

    Raises:
        RecordingError: It did not come to its end.
    """
    command = [sys.executable, '-m', 'deft_bringup', 'launch', 'fine_tune.launch.xml']
    environment = {**os.environ, 'DEFT_LAUNCH': 'own'}
    end = time.monotonic() + TIMEOUT_S
    with subprocess.Popen(
        [*command, f'run:={folder}', f'real_time_factor:={REAL_TIME_FACTOR}', *arguments],
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


class Streams:
    """Times at which a session, its camera, arm and hand did something, ROS clock. [s]."""

    def __init__(self, run: Path) -> None:
        """Read the streams of a run.

        Raises:
            RecordingError: There are none.
        """
        types = message_typestore()
        enums = types.types['deft_msgs/msg/SessionStatus']
        names = {enums.OBSERVE: 'observe', enums.AWAIT_REWARD: 'await', enums.TRAIN: 'train'}
        self.states: list[tuple[float, str, str]] = []  # time, state, episode
        self.pictures: list[tuple[float, float]] = []  # stamp, time of arrival
        self.motion: list[float] = []  # the arm moves, or the hand begins with a new command
        command: int | None = None
        folders = sorted((run / 'streams').glob('*'))
        if not folders:
            raise RecordingError(f'{run} has no recorded streams')
        for folder in folders:
            for message in BagReader(folder).messages((STATUS, CAMERA, HAND, *JOINTS)):
                arrived = message.log_time * 1e-9
                content: Any = types.deserialize_cdr(message.data, message.type)
                if message.topic in JOINTS:
                    if np.abs(content.velocity[:6]).max(initial=0.0) > MOVING:
                        self.motion.append(arrived)
                elif message.topic == HAND:
                    if content.sequence != command and command is not None:
                        self.motion.append(arrived)
                    command = content.sequence
                elif message.topic == CAMERA:
                    stamp = content.header.stamp
                    self.pictures.append((stamp.sec + 1e-9 * stamp.nanosec, arrived))
                elif content.state in names:
                    self.states.append((arrived, names[content.state], content.episode_id))

    def picture_after(self, moment: float) -> float:
        """When the first picture arrived that was taken after a moment; infinite for none."""
        at = bisect_left(self.pictures, (moment, 0.0))
        return self.pictures[at][1] if at < len(self.pictures) else np.inf

    def motion_after(self, moment: float) -> float:
        """When arm or hand first did something after a moment; infinite for never."""
        at = bisect_left(self.motion, moment)
        return self.motion[at] if at < len(self.motion) else np.inf


def score_times(bag: Path) -> dict[int, float]:
    """When the scores of the episodes came, by log time [ns]; ROS clock. [s]."""
    times = {}
    for path in bag_files(bag):
        with path.open('rb') as file:
            for _, _, message in make_reader(file).iter_messages():
                times[message.log_time] = 1e-9 * message.publish_time
    return times


def overheads(
    streams: Streams, episodes: Sequence[Episode], scored: dict[int, float]
) -> list[dict[str, float]]:
    """Seconds of each part, for every episode that was carried out and followed by another."""
    ended = {e.episode_id: e.ended for e in episodes if e.outcome is Outcome.COMPLETED}
    found = []
    observed = 0.0
    for place, (moment, state, name) in enumerate(streams.states[:-1]):
        if state == 'observe':
            observed = moment
        elif state == 'await' and name in ended and streams.states[place + 1][1] != 'train':
            look = streams.picture_after(observed)
            score = scored[round(1e9 * ended[name])]
            parts = (
                streams.motion_after(look) - look,
                max(0.0, moment - streams.picture_after(ended[name])),
                streams.motion_after(score) - score,
                score - moment,
            )
            if np.isfinite(parts).all():
                found.append(dict(zip((*PARTS, PERSON), map(float, parts), strict=True)))
    return found


def measure(run: Path) -> dict[str, Any]:
    """Spread of the overhead of a run, and of its parts.

    Raises:
        DeftError: The run has no streams, or too few episodes.
    """
    bag = bag_of(run)
    found = overheads(Streams(run), list(BagReader(bag).episodes()), score_times(bag))
    if len(found) < 2:
        raise RecordingError(f'{run.name} shows the times of {len(found)} episodes, needs two')
    total = [sum(parts[part] for part in PARTS) for parts in found]
    return {
        'p95_s': float(np.percentile(total, 95)),
        'median_s': float(np.median(total)),
        'episodes': len(found),
        'camera_period_s': camera_period(),
        'person_median_s': float(np.median([parts[PERSON] for parts in found])),
        'software_by_part': [
            {
                'part': part,
                'median_s': float(np.median([parts[part] for parts in found])),
                'p95_s': float(np.percentile([parts[part] for parts in found], 95)),
            }
            for part in PARTS
        ],
    }


def camera_period() -> float:
    """Real time between two pictures of the simulated camera. [s].

    Raises:
        ConfigurationError: The parameter file of the simulation is not as expected.
    """
    path = config_directory() / 'nodes' / 'simulation.yaml'
    try:
        values = read_yaml(path)['simulation']['ros__parameters']
        return 1.0 / (float(values['camera_rate']) * REAL_TIME_FACTOR)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f'{path.name} has no camera rate: {error}') from error


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--run', type=Path, help='folder of a session; without, one is run')
    parser.add_argument('--smoke', action='store_true', help='few episodes; nothing is written')
    options = parser.parse_args()
    try:
        if options.run is not None:
            measurements = measure(options.run)
        else:
            with tempfile.TemporaryDirectory() as folder:
                real_time = claim_real_time()
                run_session(Path(folder) / 'run', SMOKE if options.smoke else ARGUMENTS)
                measurements = measure(Path(folder) / 'run')
            measurements['nodes_at_real_time_priority'] = real_time
        print_table([{key: measurements[key] for key in ('p95_s', 'median_s', 'episodes')}])
        print()
        print_table(measurements['software_by_part'])
        if options.run is None and not options.smoke:
            write_result('session_overhead', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
