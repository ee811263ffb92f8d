# SPDX-License-Identifier: Apache-2.0
"""`deft segment`: what perception makes of two pictures or of a bag, without a graph."""

from __future__ import annotations

import argparse
import json
import math
import struct
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from deft_bag.reader import BagReader, bag_of
from deft_core.camera import RgbdFrame
from deft_core.configuration import config_directory
from deft_core.decode import color_from_msg, depth_from_msg, intrinsics_from_msg, time_from_msg
from deft_core.errors import DeftError, InvalidInputError, RecordingError
from deft_core.files import write_atomically
from deft_core.observation import ObjectObservation
from deft_core.validation import FloatArray
from deft_perception.calibration.calibration_file import load_named_calibration
from deft_perception.camera.frame_pairing import FramePairing
from deft_perception.camera.picture_files import read_frame
from deft_perception.segmentation.free_table import pose_over_table
from deft_perception.segmentation.overlay import draw_overlay
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.quality import flags_of
from deft_perception.segmentation.settings import SegmentationSettings
from deft_perception.segmentation.table_scene import bounding_box

_REFUSED: Final = 3
_COLOR: Final = '/camera/camera/color/image_raw'
_DEPTH: Final = '/camera/camera/aligned_depth_to_color/image_raw'
_INFO: Final = '/camera/camera/color/camera_info'
_TYPES: Final = {
    _COLOR: 'sensor_msgs/msg/Image',
    _DEPTH: 'sensor_msgs/msg/Image',
    _INFO: 'sensor_msgs/msg/CameraInfo',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft segment`."""
    parser.description = (
        'Find one object on the table in two pictures, or in a frame of a bag, and print what was '
        'found as one JSON object. docs/perception.md says what it holds.'
    )
    parser.add_argument('color', type=Path, metavar='COLOR', help='colour picture, or a bag')
    parser.add_argument(
        'depth', type=Path, nargs='?', metavar='DEPTH', help='aligned depth picture; not for a bag'
    )
    parser.add_argument(
        '--camera', type=Path, metavar='YAML', help="ROS' calibration file of the colour camera"
    )
    parser.add_argument(
        '--depth-unit', type=float, default=0.001, metavar='M', help='of DEPTH (%(default)s)'
    )
    parser.add_argument(
        '--frame', type=int, default=0, metavar='N', help='of the bag (%(default)s)'
    )
    parser.add_argument(
        '--click', type=int, nargs=2, metavar=('U', 'V'), help='pixel on the wanted object'
    )
    parser.add_argument(
        '--calibration',
        default='',
        help='where the camera stands, a file in config/calibration; without it the table that is '
        'seen is z = 0 and the origin below the camera',
    )
    parser.add_argument('--out', type=Path, metavar='PNG', help='picture to write')


def main(arguments: argparse.Namespace) -> int:
    """Run `deft segment`."""
    try:
        frame = _frame(arguments)
        pose, observation = _segment(frame, arguments)
        if arguments.out is not None:
            picture = draw_overlay(frame, observation, pose)
            _, data = cv2.imencode('.png', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            write_atomically(arguments.out, data.tobytes())
    except DeftError as error:
        print(json.dumps({'refused': str(error)}))
        return _REFUSED
    print(json.dumps(_words(observation, pose)))
    return 0


def _frame(arguments: argparse.Namespace) -> RgbdFrame:
    if arguments.depth is None:
        return _frame_of_bag(arguments.color, arguments.frame)
    if arguments.camera is None:
        raise InvalidInputError('Two pictures need --camera, the calibration file of the camera.')
    if not 0.0 < arguments.depth_unit < math.inf:
        raise InvalidInputError(
            f'--depth-unit is what 1 means in metres, such as 0.001; got {arguments.depth_unit}.'
        )
    return read_frame(arguments.color, arguments.depth, arguments.camera, arguments.depth_unit)


def _frame_of_bag(path: Path, number: int) -> RgbdFrame:
    """The numbered one of the frames whose images have one stamp."""
    if path.is_file() and path.suffix != '.mcap':
        raise InvalidInputError(
            f'{path} is no bag (a folder or an .mcap file); a picture needs DEPTH and --camera.'
        )
    store = get_typestore(Stores.ROS2_JAZZY)
    pairing, frames = FramePairing(math.inf, 0.0), 0
    info: Any = None
    for raw in BagReader(bag_of(path)).messages(set(_TYPES)):
        try:
            message: Any = store.deserialize_cdr(raw.data, _TYPES[raw.topic])
        except (SerdeError, struct.error, ValueError, IndexError) as error:
            raise RecordingError(
                f'{path}: {raw.topic} holds no {_TYPES[raw.topic]} that can be read ({error}).'
            ) from error
        if raw.topic == _INFO:
            info = message
            continue
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if raw.topic == _COLOR:
            pair = pairing.add_color(stamp, message)
        else:
            pair = pairing.add_depth(stamp, message, None)
        if pair is None or info is None:
            continue
        if frames == number:
            return RgbdFrame(
                time_from_msg(pair.color.header.stamp),
                color_from_msg(pair.color),
                depth_from_msg(pair.depth),
                intrinsics_from_msg(info),
                pair.color.header.frame_id,
            )
        frames += 1
    raise RecordingError(
        f'{path} holds {frames} frames of {", ".join(_TYPES)}; frame {number} is not among them '
        '(the first is 0).'
    )


def _segment(
    frame: RgbdFrame, arguments: argparse.Namespace
) -> tuple[FloatArray, ObjectObservation]:
    """Pose of the camera, and what it sees."""
    rng = np.random.default_rng(0)
    if arguments.calibration:
        calibration = load_named_calibration(arguments.calibration, config_directory())
        pose, settings = calibration.T_base_camera, SegmentationSettings()
    else:
        pose = pose_over_table(frame, rng)
        settings = SegmentationSettings(
            workspace_minimum=(-2.0, -2.0, -0.05),
            workspace_maximum=(2.0, 2.0, 0.5),
            maximum_clearance=0.5,  # from straight above no side is seen on which a thing stands
        )
    observation = PlaneSegmentation(settings).segment(
        frame,
        pose,
        rng,
        click=None if arguments.click is None else tuple(arguments.click),
        calibration_id=arguments.calibration,
    )
    return pose, observation


def _words(observation: ObjectObservation, pose: FloatArray) -> dict[str, Any]:
    x0, y0, x1, y1 = bounding_box(observation.mask).tolist()
    return {
        'mask_box': [x0, y0, x1 + 1, y1 + 1],
        'mask_pixels': int(np.count_nonzero(observation.mask)),
        'centre': observation.centre.tolist(),
        'axes': observation.axes.tolist(),
        'extents': observation.extents.tolist(),
        'height': observation.height,
        'table_plane': observation.table_plane.tolist(),
        'T_base_camera': pose.tolist(),
        'flags': [str(flag) for flag in flags_of(observation)],
        'quality': {name: float(value) for name, value in observation.quality.items()},
    }
