# SPDX-License-Identifier: Apache-2.0
"""`deft trajectory`: the post-grasp trajectory from one human demonstration, and a look at one."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deft_affordance.wrist_poses import SIDE_GRASP
from deft_arm.configuration import load_arm_configuration
from deft_arm.demonstration.extraction import Extraction, ExtractionSettings, extract
from deft_arm.demonstration.figure import draw
from deft_arm.demonstration.tracks import (
    TRACKERS,
    PoseTrack,
    load_track,
    track_from_frames,
)
from deft_arm.planning.plan import Phase
from deft_arm.planning.planner import EpisodePlanner
from deft_core.camera import CameraIntrinsics
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, SafetyError, UnreachableError
from deft_core.files import LARGEST_RECORDING, parse_json, read_text
from deft_core.frames import BASE_FRAME
from deft_core.grasp import GraspParameters
from deft_core.rotations import euler_from_matrix, matrix_from_euler
from deft_core.task import Task, load_task
from deft_core.trajectory import WristTrajectory
from deft_perception.calibration.calibration_file import load_named_calibration

_ARM = 'xarm6'
_TRACK = 'track'
_DEFAULTS = ExtractionSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft trajectory`."""
    parser.description = (
        'What the wrist does after the grasp, taken from one human demonstration (paper, section '
        '3.1). docs/arm.md describes the files.'
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    make = actions.add_parser('extract', help='40 displacements from wrist poses over time')
    make.add_argument('track', type=Path, help='pose track (.json, .csv) or output of a tracker')
    make.add_argument('output', type=Path, help='trajectory to write, for config/trajectories')
    make.add_argument(
        '--format',
        choices=(_TRACK, *TRACKERS),
        default=_TRACK,
        help='what the file holds (%(default)s)',
    )
    make.add_argument(
        '--calibration',
        default='',
        help='of the camera that saw the hand, a file in config/calibration; not needed for a '
        f'track in {BASE_FRAME}',
    )
    make.add_argument('--video-rate', type=float, default=30.0, metavar='HZ', help='(%(default)s)')
    make.add_argument(
        '--intrinsics',
        type=float,
        nargs=6,
        metavar=('W', 'H', 'FX', 'FY', 'CX', 'CY'),
        help='of the camera [pixel]; for the formats of trackers',
    )
    make.add_argument('--left', action='store_true', help='the hand is a left one')
    for option, default, unit, meaning in (
        ('--start', _DEFAULTS.start, 'S', 'time of the grasp'),
        ('--rate', _DEFAULTS.rate, 'HZ', 'displacements per second'),
        ('--window', _DEFAULTS.window, 'S', 'of the smoothing'),
        ('--longest-gap', _DEFAULTS.longest_gap, 'S', 'without a hand that is bridged'),
        ('--reach', _DEFAULTS.reach, 'M', "grasp centre in front of the person's wrist"),
    ):
        make.add_argument(
            option, type=float, default=default, metavar=unit, help=f'{meaning} (%(default)s)'
        )
    _add_grasp(make)
    show = actions.add_parser('show', help='check and draw a trajectory file')
    show.add_argument('trajectory', type=Path, help='JSON file, as in config/trajectories')
    _add_grasp(show)


def _add_grasp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--figure', type=Path, metavar='PNG', help='picture to write')
    parser.add_argument('--task', default='pick_cup', help='whose hand poses (%(default)s)')
    parser.add_argument(
        '--grasp',
        type=float,
        nargs=6,
        metavar=('X', 'Y', 'Z', 'ROLL', 'PITCH', 'YAW'),
        help='from where it is checked [m, rad]; a side grasp before the arm when left out',
    )


def main(arguments: argparse.Namespace) -> int:
    """Run `deft trajectory`."""
    task = load_task(arguments.task, config_directory())
    extraction: Extraction | None = None
    if arguments.action == 'extract':
        extraction = _extract(arguments)
        trajectory = extraction.trajectory
    else:
        trajectory = WristTrajectory.load(arguments.trajectory)
    grasp = _grasp(arguments.grasp, task)
    feasible, verdict = _check(trajectory, grasp, task)
    print(verdict)
    if arguments.figure is not None:
        draw(
            trajectory,
            grasp.rotation_matrix(),
            grasp.position,
            load_arm_configuration(_ARM),
            verdict,
            arguments.figure,
            extraction,
        )
        print(f'wrote {arguments.figure}')
    if extraction is not None:
        if not feasible:
            print(f'{arguments.output} was not written; change --grasp, --start or the recording')
            return 3
        trajectory.save(arguments.output)
        print(f'wrote {arguments.output}')
    return 0 if feasible else 3


def _extract(arguments: argparse.Namespace) -> Extraction:
    if not arguments.output.parent.is_dir():
        raise ConfigurationError(f'There is no folder {arguments.output.parent}; create it first.')
    track, T_base_track = _track(arguments)
    settings = ExtractionSettings(
        start=arguments.start,
        rate=arguments.rate,
        window=arguments.window,
        longest_gap=arguments.longest_gap,
        reach=arguments.reach,
    )
    extraction = extract(track, T_base_track, settings)
    print(
        f'{len(track.times)} poses over {track.duration:.1f} s, {extraction.outliers} outliers '
        'left out'
    )
    return extraction


def _track(arguments: argparse.Namespace) -> tuple[PoseTrack, np.ndarray]:
    """The track, and what maps its frame to the base."""
    calibration = None
    frame = BASE_FRAME
    if arguments.calibration:
        calibration = load_named_calibration(arguments.calibration, config_directory())
        frame = calibration.camera_frame
    if arguments.format == _TRACK:
        track = load_track(arguments.track, frame)
    else:
        if arguments.intrinsics is None:
            raise ConfigurationError(f'--format {arguments.format} needs --intrinsics.')
        width, height, *numbers = arguments.intrinsics
        track = track_from_frames(
            parse_json(read_text(arguments.track, LARGEST_RECORDING), str(arguments.track)),
            arguments.format,
            arguments.video_rate,
            CameraIntrinsics(int(width), int(height), *numbers),
            frame,
            right=not arguments.left,
        )
    if track.frame_id == BASE_FRAME and calibration is None and arguments.format == _TRACK:
        return track, np.eye(4)
    if calibration is None or track.frame_id != calibration.camera_frame:
        raise ConfigurationError(
            f'The hand is tracked in frame {track.frame_id!r}; name the calibration of that '
            'camera with --calibration.'
        )
    return track, calibration.T_base_camera


def _grasp(numbers: list[float] | None, task: Task) -> GraspParameters:
    position, rotation = [0.55, 0.0, 0.07], SIDE_GRASP
    if numbers is not None:
        position, rotation = numbers[:3], matrix_from_euler(numbers[3:])
    return GraspParameters(
        np.array(position), euler_from_matrix(rotation), np.array(task.half_closed_hand)
    )


def _check(trajectory: WristTrajectory, grasp: GraspParameters, task: Task) -> tuple[bool, str]:
    """Whether the arm can do it from a grasp, in words."""
    configuration = load_arm_configuration(_ARM)
    planner = EpisodePlanner(configuration)
    way = np.linalg.norm(trajectory.translations, axis=1).sum()
    turn = np.linalg.norm(trajectory.rotation_vectors, axis=1).sum()
    what = (
        f'{len(trajectory)} displacements at {trajectory.rate:g} Hz, {way:.2f} m and {turn:.2f} '
        'rad in all'
    )
    try:
        plan = planner.plan(
            grasp,
            trajectory,
            task.pregrasp.distance,
            task.pregrasp.direction,
            configuration.home,
            task.open_hand,
        )
    except (UnreachableError, SafetyError) as error:
        return False, f'{what}: not possible. {error}'
    intended = len(trajectory) / trajectory.rate
    needed = plan.phase(Phase.FOLLOW_TRAJECTORY).duration
    return True, f'{what}: possible, in {needed:.1f} s of {intended:.1f} s'
