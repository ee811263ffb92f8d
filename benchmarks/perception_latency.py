# SPDX-License-Identifier: Apache-2.0
"""How long the camera's picture takes to become points in the base frame.

`plane_ms`: one segmentation of a 640x480 frame of the simulated camera, without ROS.
`end_to_end_ms`: through the graph, each node in a process of its own as `deft launch` starts them.
A played camera publishes colour, aligned depth and camera_info at 10 Hz. One request after the
other waits for an image newer than itself; the clock runs from just before that image is published
until the observation, with its points in the base frame, has arrived at the asker. The wire is
included twice. Images that a busy machine loses on the wire are counted.

    python benchmarks/perception_latency.py          # writes results/perception_latency.json
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import rclpy
from common import print_table, time_calls, write_result
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from deft_bringup.commands.launch import node_environment
from deft_core.camera import RgbdFrame
from deft_core.configuration import config_directory
from deft_core.decode import observation_from_msg
from deft_core.errors import DeftError, DeviceError
from deft_core.nodes.encode import image_to_msg, intrinsics_to_msg
from deft_core.nodes.qos import IMAGE_PUBLISHER
from deft_msgs.srv import SegmentObject
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import CALIBRATION, load_simulation_settings
from deft_sim.tasks import simulated_task

COMMAND: Final = 'python benchmarks/perception_latency.py'
FRAMES: Final = 12  # different pictures, so that the camera does not look frozen
PERIOD: Final = 0.1  # [s] between two images
WARM_UP: Final = 20  # requests
TIMEOUT: Final = 60.0  # [s]
DOMAIN: Final = str(60 + os.getpid() % 40)
CAMERA: Final = '/camera/camera'


def pictures() -> list[RgbdFrame]:
    """Pictures of cups at several places."""
    settings = load_simulation_settings(config_directory())
    task = simulated_task('pick_cup')
    names = task.object_names
    cell = SimulatedCell(settings, task)
    frames = []
    for index in range(FRAMES):
        cell.reset_scene(names[index % len(names)], index)
        cell.advance(0.2)
        frames.append(cell.capture())
    cell.close()
    return frames


def plane_times(frames: list[RgbdFrame], repetitions: int) -> np.ndarray:
    """Duration of segmentations without ROS. [s]."""
    pose = load_simulation_settings(config_directory()).calibration.T_base_camera
    segmentation = PlaneSegmentation(SegmentationSettings())
    generator = np.random.default_rng(0)
    turn = iter(range(1_000_000))
    return time_calls(
        lambda: segmentation.segment(frames[next(turn) % len(frames)], pose, generator),
        repetitions=repetitions,
        warm_up=10,
    )


@contextmanager
def nodes() -> Iterator[None]:
    """Segmentation and calibration publisher in processes of their own."""
    environment = node_environment({**os.environ, 'ROS_DOMAIN_ID': DOMAIN})
    folder = config_directory() / 'nodes'
    commands = [
        (
            'deft_perception.nodes.segmentation_node',
            ['-r', '__node:=segmentation', '--params-file', str(folder / 'segmentation.yaml')],
        ),
        (
            'deft_perception.nodes.calibration_publisher',
            ['-p', f'calibration:={CALIBRATION}', '-p', 'use_sim_time:=true'],
        ),
    ]
    processes = [
        subprocess.Popen([sys.executable, '-m', module, '--ros-args', *arguments], env=environment)
        for module, arguments in commands
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=10.0)


class Asker(Node):
    """Plays the camera and asks for what it shows."""

    def __init__(self, frames: list[RgbdFrame], context: rclpy.Context) -> None:
        """Create the interfaces; messages of all frames are made beforehand."""
        super().__init__('asker', context=context)
        self._frames = frames
        self._millimetres = [
            np.nan_to_num(np.rint(frame.depth * 1000.0), nan=0.0).astype(np.uint16)
            for frame in frames
        ]
        self._color = self.create_publisher(Image, f'{CAMERA}/color/image_raw', IMAGE_PUBLISHER)
        self._depth = self.create_publisher(
            Image, f'{CAMERA}/aligned_depth_to_color/image_raw', IMAGE_PUBLISHER
        )
        self._info = self.create_publisher(
            CameraInfo, f'{CAMERA}/color/camera_info', IMAGE_PUBLISHER
        )
        self.client = self.create_client(SegmentObject, '/perception/segment_object')
        self.published: dict[tuple[int, int], float] = {}
        self._index = 0

    def start(self) -> None:
        """Begin to publish."""
        self.create_timer(PERIOD, self.publish)

    @property
    def connected(self) -> bool:
        """Whether the segmentation listens to everything."""
        publishers = (self._color, self._depth, self._info)
        heard = all(publisher.get_subscription_count() > 0 for publisher in publishers)
        return heard and self.client.service_is_ready()

    def messages(self, index: int, stamp: float) -> tuple[CameraInfo, Image, Image]:
        """camera_info, colour and depth of a frame."""
        frame = self._frames[index % len(self._frames)]
        return (
            intrinsics_to_msg(frame.intrinsics, stamp, frame.frame_id),
            image_to_msg(frame.color, 'rgb8', stamp, frame.frame_id),
            image_to_msg(
                self._millimetres[index % len(self._frames)], '16UC1', stamp, frame.frame_id
            ),
        )

    def publish(self) -> None:
        """Publish the next frame, as a camera does whether or not somebody looks."""
        stamp = self.get_clock().now().nanoseconds * 1e-9
        messages = self.messages(self._index, stamp)
        self._index += 1
        key = messages[1].header.stamp
        self.published[(key.sec, key.nanosec)] = time.perf_counter()
        for publisher, message in zip(
            (self._info, self._color, self._depth), messages, strict=True
        ):
            publisher.publish(message)


def end_to_end_times(frames: list[RgbdFrame], repetitions: int) -> tuple[np.ndarray, int]:
    """Latency of requests through the graph, shape (repetitions,) [s], and images skipped.

    Raises:
        DeviceError: The nodes did not answer in time, or refused.
    """
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(DOMAIN))
    executor = SingleThreadedExecutor(context=context)
    asker = Asker(frames, context)
    executor.add_node(asker)
    latencies: list[float] = []
    skipped = 0
    try:
        _spin_until(executor, lambda: asker.connected)
        asker.start()
        for index in range(repetitions + WARM_UP):
            latency, missed = _ask(asker, executor, index)
            if latency is not None and index >= WARM_UP:
                latencies.append(latency)
                skipped += missed
    finally:
        asker.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown(context=context)
    return np.array(latencies), skipped


def _ask(asker: Asker, executor: SingleThreadedExecutor, index: int) -> tuple[float | None, int]:
    """Latency of the first image that is answered [s] (None while the graph comes up).

    Also the number of images published after the request that were not the one.
    """
    now = asker.get_clock().now()
    future = asker.client.call_async(SegmentObject.Request(not_before=now.to_msg()))
    _spin_until(executor, future.done)
    end = time.perf_counter()
    answer = future.result()
    code = SegmentObject.Request
    if answer.error_code in (code.NO_TRANSFORM, code.NO_IMAGE) and index < WARM_UP:
        return None, 0
    if answer.error_code != code.NONE:
        raise DeviceError(f'The segmentation refused a picture: {answer.error_message}')
    assert len(observation_from_msg(answer.observation).points) > 0
    used = answer.observation.header.stamp
    asked = now.seconds_nanoseconds()
    missed = sum(asked <= stamp < (used.sec, used.nanosec) for stamp in asker.published)
    return end - asker.published[(used.sec, used.nanosec)], missed


def _spin_until(executor: SingleThreadedExecutor, condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise DeviceError('The nodes under measurement did not come up or answer in time.')
        executor.spin_once(timeout_sec=0.05)


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repetitions', type=int, default=200, help='images (%(default)s)')
    options = parser.parse_args()
    os.environ.update(node_environment(os.environ))
    try:
        frames = pictures()
        plane = 1000.0 * plane_times(frames, options.repetitions)
        with nodes():
            graph, skipped = end_to_end_times(frames, options.repetitions)
            graph = 1000.0 * graph
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    measurements = {
        'images': options.repetitions,
        'plane_ms': float(np.median(plane)),
        'plane_p95_ms': float(np.percentile(plane, 95)),
        'plane_least_ms': float(plane.min()),
        'end_to_end_ms': float(np.median(graph)),
        'end_to_end_p95_ms': float(np.percentile(graph, 95)),
        'end_to_end_least_ms': float(graph.min()),
        'images_skipped': skipped,
        'load_of_the_machine_before': os.getloadavg()[0],
    }
    print_table([{'quantity': key, 'value': value} for key, value in measurements.items()])
    write_result('perception_latency', measurements, COMMAND)
    return 0


if __name__ == '__main__':
    sys.exit(main())
