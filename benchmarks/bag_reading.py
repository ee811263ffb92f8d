# SPDX-License-Identifier: Apache-2.0
"""What reading the episodes of a bag costs, against a plain pass of the bag libraries.

Every pass finds all episode records in the bag and decodes each with `rosbags`. `BagReader` does
more: it verifies the checksum of every chunk it opens, checks every field, makes an `Episode` of
the record, and reads files without an end. Plain passes are timed with the three readers that
people use; the ratio is that to the fastest of them.
Passes take turns, so that a busy machine slows all of them.

    python benchmarks/bag_reading.py                     # makes a bag of 30 episodes by itself
    python benchmarks/bag_reading.py --bag runs/NAME/bag
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from common import print_table, write_result
from mcap.reader import NonSeekingReader, make_reader
from mcap.records import Channel, Message, Schema
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.typesys.store import Typestore

from deft_bag.message_types import message_typestore
from deft_bag.reader import EPISODE_TOPIC, BagReader, bag_files
from deft_bag.writer import EpisodeBag
from deft_cem.optimisers.cem import initial_standard_deviation
from deft_core.episode import Episode, Outcome, Phase, VideoFrame
from deft_core.errors import DeftError, RecordingError
from deft_core.grasp import GraspParameters, GraspPrior, GraspResidual
from deft_core.nodes.encode import episode_to_msg

EPISODES: Final = 30
VIDEO_FRAMES: Final = 20
IMAGE_SHAPE: Final = (480, 640, 3)
_VIDEO_BYTES: Final = 12_000


def synthetic_episode(index: int, rng: np.random.Generator) -> Episode:
    """An episode of the usual size: two VGA images that compress like a camera's, and a video."""
    position = rng.uniform(0.3, 0.5, 3)
    grasp = GraspParameters(position, rng.uniform(-1.0, 1.0, 3), np.full(16, 0.4))
    sigma = initial_standard_deviation()
    residual = GraspResidual.from_vector(rng.standard_normal(22) * sigma)
    rows, columns = np.indices(IMAGE_SHAPE[:2])
    smooth = ((rows + columns) / 5.0)[:, :, None] + np.array([20.0, 0.0, 10.0])

    def image() -> np.ndarray[Any, np.dtype[np.uint8]]:
        noisy = smooth + rng.normal(0.0, 2.0, IMAGE_SHAPE)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    return Episode(
        episode_id=f'synthetic-{index:03d}',
        index=index,
        phase=Phase.WARM_UP if index < 10 else Phase.FINE_TUNE,
        task='pick_cup',
        object_name='red_mug',
        scene_seed=index,
        prior=GraspPrior(grasp, position, 0.01, 'synthetic', 'pick_cup', 'pick up the cup', 'c'),
        residual=residual,
        executed=grasp + residual,
        outcome=Outcome.COMPLETED,
        reward=float(rng.uniform()),
        reward_source='operator',
        success=None,
        first_image=image(),
        last_image=image(),
        rollout_video=tuple(
            VideoFrame(0.5 * k, rng.bytes(_VIDEO_BYTES)) for k in range(VIDEO_FRAMES)
        ),
        sample_seed=0,
        calibration_id='c',
        distribution_mean=np.zeros(22),
        distribution_std=sigma,
        started=16.0 * index,
        ended=16.0 * index + 15.0,
    )


def write_synthetic_bag(folder: Path, episodes: int) -> None:
    """Write a session of the usual size."""
    rng = np.random.default_rng(0)
    bag = EpisodeBag(folder)
    for index in range(episodes):
        record = episode_to_msg(synthetic_episode(index, rng), 'synthetic', '', '0')
        bag.write_episode(index, serialize_message(record), (16 * index + 15) * 10**9)


def read_with_deft(bag: Path) -> int:
    """What training does: `Episode` objects, every field checked."""
    return sum(1 for _ in BagReader(bag).episodes())


def _decode(messages: Iterator[tuple[Schema | None, Channel, Message]], types: Typestore) -> int:
    """Decode what an `mcap` reader gives."""
    count = 0
    for schema, _, message in messages:
        assert schema is not None, 'a ROS 2 channel has a schema'
        types.deserialize_cdr(message.data, schema.name)
        count += 1
    return count


def read_with_mcap(bag: Path) -> int:
    """`mcap`'s reader as its documentation shows it: through the index, in order of time."""
    types, count = message_typestore(), 0
    for file in bag_files(bag):
        with file.open('rb') as stream:
            count += _decode(make_reader(stream).iter_messages(topics=[EPISODE_TOPIC]), types)
    return count


def read_with_mcap_stream(bag: Path) -> int:
    """`mcap`'s reader from front to back, checksums verified."""
    types, count = message_typestore(), 0
    for file in bag_files(bag):
        with file.open('rb') as stream:
            reader = NonSeekingReader(stream, validate_crcs=True)
            messages = reader.iter_messages(topics=[EPISODE_TOPIC], log_time_order=False)
            count += _decode(messages, types)
    return count


def read_with_rosbags(bag: Path) -> int:
    """`rosbags`' own reader, checksums verified."""
    with AnyReader([bag]) as reader:
        chosen = [c for c in reader.connections if c.topic == EPISODE_TOPIC]
        messages = reader.messages(chosen)
        return sum(1 for c, _, data in messages if reader.deserialize(data, c.msgtype) is not None)


PASSES: Final[dict[str, Callable[[Path], int]]] = {
    'deft_bag.BagReader': read_with_deft,
    'mcap, by index': read_with_mcap,
    'mcap, front to back': read_with_mcap_stream,
    'rosbags': read_with_rosbags,
}


def measure(bag: Path, repetitions: int) -> dict[str, Any]:
    """Time all passes in turn.

    Args:
        bag: Folder of a closed bag.
        repetitions: Rounds that count; one more before them warms the caches.

    Returns:
        Measurements for `write_result`.

    Raises:
        RecordingError: The passes do not see the same episodes.
    """
    durations: dict[str, list[float]] = {name: [] for name in PASSES}
    counts: dict[str, int] = {}
    for round_number in range(repetitions + 1):
        for name, read in PASSES.items():
            start = time.perf_counter()
            counts[name] = read(bag)
            if round_number > 0:
                durations[name].append(time.perf_counter() - start)
    if len(set(counts.values())) != 1 or counts['rosbags'] == 0:
        raise RecordingError(f'the passes do not see the same episodes of {bag.name}: {counts}')
    medians = {name: float(np.median(values)) for name, values in durations.items()}
    own, *plain = PASSES
    fastest = min(plain, key=medians.__getitem__)
    # Neighbours in time are compared, so that a change of the machine's load cancels.
    ratios = np.array(durations[own]) / np.array(durations[fastest])
    return {
        'ratio_to_plain_pass': float(np.median(ratios)),
        'fastest_plain_pass': fastest,
        'episodes': counts[own],
        'bag_mb': sum(file.stat().st_size for file in bag_files(bag)) / 1e6,
        'repetitions': repetitions,
        'passes': [
            {
                'pass': name,
                'median_s': medians[name],
                'fastest_s': float(np.min(durations[name])),
                'deft_over_this': medians[own] / medians[name],
            }
            for name in PASSES
        ],
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write results/bag_reading.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', maxsplit=1)[0])
    parser.add_argument('--bag', type=Path, help='folder of a closed bag (default: make one)')
    parser.add_argument('--episodes', type=int, default=EPISODES, help='of the bag that is made')
    parser.add_argument('--repetitions', type=int, default=15, help='rounds that count')
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            bag = options.bag
            if bag is None:
                bag = Path(folder) / 'bag'
                write_synthetic_bag(bag, options.episodes)
            measurements = measure(bag, options.repetitions)
        given = ' --bag runs/NAME/bag' if options.bag else ''
        measurements['input'] = 'a recorded session' if options.bag else 'a synthetic session'
        print_table(measurements['passes'])
        print(f'ratio to the fastest plain pass: {measurements["ratio_to_plain_pass"]:.2f}')
        write_result('bag_reading', measurements, f'python benchmarks/bag_reading.py{given}')
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
