# SPDX-License-Identifier: Apache-2.0
"""Forty displacements from a pose track: outliers, gaps, smoothing, resampling.

The paper (section 3.1) takes the change of the wrist pose between adjacent time steps, for the
first 40 steps after the grasp. Here they are changes of the grasp centre, because that is the
point which the planner moves and which holds the object: a turn of the hand then moves the object
as the person moved it, though the robot's hand is longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation, Slerp

from deft_arm.demonstration.tracks import PoseTrack
from deft_core.errors import InvalidInputError
from deft_core.frames import BASE_FRAME
from deft_core.trajectory import TRAJECTORY_STEPS, WristTrajectory
from deft_core.validation import FloatArray

_GRID_RATE: Final = 60.0  # [Hz] on which the track is smoothed
_POLYNOMIAL: Final = 2
_NEIGHBOURS: Final = 7  # poses among which one must fit
_OUTLIER: Final = 5.0  # times the median deviation from their median
_LEAST_DEVIATION: Final = 0.004  # [m] below this nothing is an outlier


@dataclass(frozen=True)
class ExtractionSettings:
    """How a track becomes displacements."""

    start: float = 0.0  # [s] time of the grasp in the track
    rate: float = 10.0  # [Hz] of the 40 displacements
    window: float = 0.4  # [s] length of the smoothing window
    longest_gap: float = 0.5  # [s] longer stretches without a pose are refused
    reach: float = 0.10  # [m] grasp centre in front of the wrist, along the fingers of the person

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, low, high, unit in (
            ('rate', 0.5, 100.0, 'Hz'),
            ('window', 0.0, 5.0, 's'),
            ('longest_gap', 0.0, 5.0, 's'),
            ('reach', 0.0, 0.3, 'm'),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInputError(f'{name} must be {low} to {high} {unit}, got {value}.')


@dataclass(frozen=True, eq=False)
class Extraction:
    """What was made of a track."""

    trajectory: WristTrajectory
    raw: PoseTrack  # in the base frame, of the grasp centre, without outliers
    smooth: PoseTrack  # of the stretch that was used
    outliers: int  # poses that were left out


def extract(
    track: PoseTrack, T_base_track: FloatArray, settings: ExtractionSettings
) -> Extraction:
    """Turn a track, mapped to the base by a matrix of shape (4, 4) [m], into the trajectory.

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
    raw = replace(
        moved,
        times=moved.times[fits],
        positions=moved.positions[fits],
        rotations=moved.rotations[fits],
    )
    _check_gaps(raw, settings, end)
    margin = 0.5 * settings.window
    first, last = max(raw.times[0], settings.start - margin), min(raw.times[-1], end + margin)
    grid = np.linspace(first, last, round((last - first) * _GRID_RATE) + 1)
    smooth = _smoothed(_sampled(raw, grid), settings.window)
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
    median = median_filter(track.positions, size=(_NEIGHBOURS, 1), mode='nearest')
    deviation = np.linalg.norm(track.positions - median, axis=1)
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
    return replace(track, times=times, positions=positions, rotations=turns(inside).as_matrix())


def _smoothed(track: PoseTrack, window: float) -> PoseTrack:
    """Local quadratic fits (Savitzky-Golay) to positions and quaternions at equal steps."""
    count = len(track.times)
    length = min(2 * round(0.5 * window * _GRID_RATE) + 1, count - 1 + count % 2)
    if length <= _POLYNOMIAL:
        return track
    quaternions = Rotation.from_matrix(track.rotations).as_quat()
    # Of the two that mean one rotation the one next to its neighbour, so that they can be fitted.
    turned_over = np.sum(quaternions[1:] * quaternions[:-1], axis=1) < 0.0
    quaternions[1:][np.cumsum(turned_over) % 2 == 1] *= -1.0
    positions = savgol_filter(track.positions, length, _POLYNOMIAL, axis=0)
    turns = Rotation.from_quat(savgol_filter(quaternions, length, _POLYNOMIAL, axis=0))
    return replace(track, positions=positions, rotations=turns.as_matrix())
