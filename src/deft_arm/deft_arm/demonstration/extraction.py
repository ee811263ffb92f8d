# SPDX-License-Identifier: Apache-2.0
"""Forty displacements from a pose track: outliers, gaps, smoothing, resampling.

The paper (section 3.1) takes the change of the wrist pose between adjacent time steps, for the
first 40 steps after the grasp. Here they are changes of the grasp centre, because that is the
point which the planner moves and which holds the object: a turn of the hand then moves the object
as the person moved it, though the robot's hand is longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from deft_arm.demonstration.pose_track import PoseTrack
from deft_core.errors import InvalidInputError
from deft_core.frames import BASE_FRAME
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray

_GRID_RATE: Final = 60.0  # [Hz] on which the track is smoothed
_POLYNOMIAL: Final = 2
_NEIGHBOURS: Final = 5  # on either side, among which a pose must fit
_OUTLIER: Final = 5.0  # times the median deviation from them
_LEAST_DEVIATION: Final = 0.004  # [m] below this nothing is an outlier


@dataclass(frozen=True)
class ExtractionSettings:
    """How a track becomes displacements.

    Attributes:
        start: Time of the grasp in the track. [s].
        rate: Displacements per second; their number is 40. [Hz].
        window: Length of the smoothing window. [s].
        longest_gap: Longer stretches without a pose are refused. [s].
        reach: Grasp centre in front of the wrist, along the fingers of the person. [m].
    """

    start: float = 0.0
    rate: float = 10.0
    window: float = 0.4
    longest_gap: float = 0.5
    reach: float = 0.10

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        ranges = {
            'rate': (0.5, 100.0, 'Hz'),
            'window': (0.0, 5.0, 's'),
            'longest_gap': (0.0, 5.0, 's'),
            'reach': (0.0, 0.3, 'm'),
        }
        for name, (low, high, unit) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInputError(f'{name} must be {low} to {high} {unit}, got {value}.')


@dataclass(frozen=True, eq=False)
class Extraction:
    """What was made of a track.

    Attributes:
        trajectory: The displacements.
        raw: The track in the base frame, of the grasp centre, without outliers.
        smooth: The smoothed track of the stretch that was used.
        outliers: Poses that were left out.
    """

    trajectory: WristTrajectory
    raw: PoseTrack
    smooth: PoseTrack
    outliers: int


def extract(
    track: PoseTrack, T_base_track: FloatArray, settings: ExtractionSettings
) -> Extraction:
    """Turn a track into the post-grasp trajectory.

    Args:
        track: Wrist poses over time.
        T_base_track: Maps the frame of the track to the base. Shape (4, 4). [m].
        settings: Which stretch, how smooth.

    Raises:
        InvalidInputError: The stretch is not covered by the track, or has too long a gap.
    """
    duration = TRAJECTORY_STEPS / settings.rate
    end = settings.start + duration
    if settings.start < track.times[0] or end > track.times[-1]:
        raise InvalidInputError(
            f'The stretch from {settings.start:.2f} s to {end:.2f} s is not in the track, which '
            f'lasts from {track.times[0]:.2f} s to {track.times[-1]:.2f} s; choose another start '
            'or rate.'
        )
    moved = track.moved(T_base_track, BASE_FRAME).at_point(np.array([0.0, 0.0, settings.reach]))
    fits = _fits(moved)
    raw = PoseTrack(
        moved.times[fits],
        moved.positions[fits],
        moved.rotations[fits],
        moved.frame_id,
        moved.source,
    )
    _check_gaps(raw, settings, end)
    margin = 0.5 * settings.window
    grid = np.arange(
        max(raw.times[0], settings.start - margin),
        min(raw.times[-1], end + margin) + 0.5 / _GRID_RATE,
        1.0 / _GRID_RATE,
    ).clip(max=raw.times[-1])
    smooth = _smoothed(_sampled(raw, np.unique(grid)), settings.window)
    wanted = np.linspace(settings.start, end, TRAJECTORY_STEPS + 1)
    steps = _sampled(smooth, wanted.clip(smooth.times[0], smooth.times[-1]))
    turns = steps.rotations[1:] @ steps.rotations[:-1].transpose(0, 2, 1)
    trajectory = WristTrajectory(
        translations=np.diff(steps.positions, axis=0),
        rotation_vectors=Rotation.from_matrix(turns).as_rotvec(),
        rate=settings.rate,
        source=(
            f'{track.source}; grasp at {settings.start:.2f} s, smoothed over '
            f'{settings.window:.2f} s, {int((~fits).sum())} outliers'
        ),
    )
    return Extraction(trajectory, raw, smooth, int((~fits).sum()))


def _fits(track: PoseTrack) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which poses lie where their neighbours say. Shape (n,)."""
    count = len(track.times)
    deviation = np.zeros(count)
    for index in range(count):
        near = [
            other
            for other in range(max(0, index - _NEIGHBOURS), min(count, index + _NEIGHBOURS + 1))
            if other != index
        ]
        if len(near) < 3:
            continue
        # A line through the neighbours, weighted so that one of them that is off counts little.
        offsets = track.times[near] - track.times[index]
        centre = np.median(track.positions[near], axis=0)
        far = np.linalg.norm(track.positions[near] - centre, axis=1)
        weights = 1.0 / np.maximum(far, _LEAST_DEVIATION)
        line = np.polynomial.polynomial.polyfit(offsets, track.positions[near], 1, w=weights)
        deviation[index] = np.linalg.norm(track.positions[index] - line[0])
    limit = max(_LEAST_DEVIATION, _OUTLIER * float(np.median(deviation)))
    return np.asarray(deviation <= limit, dtype=np.bool_)


def _check_gaps(track: PoseTrack, settings: ExtractionSettings, end: float) -> None:
    inside = (track.times >= settings.start) & (track.times <= end)
    times = np.concatenate([[settings.start], track.times[inside], [end]])
    gaps = np.diff(times)
    worst = int(np.argmax(gaps))
    if gaps[worst] > settings.longest_gap:
        raise InvalidInputError(
            f'No hand was found from {times[worst]:.2f} s to {times[worst + 1]:.2f} s, at most '
            f'{settings.longest_gap} s are bridged; record the demonstration again with the hand '
            'in view.'
        )


def _sampled(track: PoseTrack, times: FloatArray) -> PoseTrack:
    """Poses at other times: positions linear, rotations along the shortest arc."""
    positions = np.stack(
        [np.interp(times, track.times, track.positions[:, axis]) for axis in range(3)], axis=1
    )
    turns = Slerp(track.times, Rotation.from_matrix(track.rotations))
    inside = times.clip(track.times[0], track.times[-1])
    return PoseTrack(times, positions, turns(inside).as_matrix(), track.frame_id, track.source)


def _smoothed(track: PoseTrack, window: float) -> PoseTrack:
    """Local quadratic fits (Savitzky-Golay), for rotations around each pose in turn."""
    half = round(0.5 * window * _GRID_RATE)
    count = len(track.times)
    if half < 1:
        return track
    positions, rotations = np.empty_like(track.positions), np.empty_like(track.rotations)
    for index in range(count):
        near = slice(max(0, index - half), min(count, index + half + 1))
        offsets = track.times[near] - track.times[index]
        degree = min(_POLYNOMIAL, len(offsets) - 1)
        fit = np.polynomial.polynomial.polyfit
        positions[index] = fit(offsets, track.positions[near], degree)[0]
        turns = Rotation.from_matrix(track.rotations[index].T @ track.rotations[near])
        centre = fit(offsets, turns.as_rotvec(), degree)[0]
        rotations[index] = track.rotations[index] @ Rotation.from_rotvec(centre).as_matrix()
    return PoseTrack(track.times, positions, rotations, track.frame_id, track.source)
