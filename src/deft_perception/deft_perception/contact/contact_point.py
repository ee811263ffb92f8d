# SPDX-License-Identifier: Apache-2.0
"""The 3D point behind one pixel of an object, although depth is noisy and missing at edges.

"Using a depth camera, we can determine the 3D contact point" (paper, section 3.1). One depth
pixel will not do: stereo depth has holes, loses a band along every edge, and mixes near and far
there. Here the window around the pixel votes, limited to the mask and to the surface on which the
pixel lies:

1. Surface: the depths nearest to the pixel say which of several surfaces it shows (rim or far
   wall of a cup); others are left out.
2. Slope: inverse depth of a plane is linear in the pixel, so a line fit to inverse depth carries
   every depth of the window to the wanted pixel.
3. Median of the carried depths. Where the pixel itself lies in a hole or in the lost band, this
   is the extrapolation of the plane, with the larger uncertainty that the fit has there.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, DepthImage, Mask
from deft_core.errors import InvalidInputError, NoObjectError
from deft_core.validation import FloatArray, finite_array

_WINDOWS: Final = (0.006, 0.009, 0.0135, 0.018)  # [m] half width; grows where depth is missing
_LEAST_SAMPLES: Final = 12
_DEPTH_JUMP: Final = 0.012  # [m] a larger step separates two surfaces
_DEPTH_NOISE: Final = 0.0016  # [1/m] of depth over its square, of the part that neighbours share
_CORRELATION_AREA: Final = 12.0  # [pixel] neighbours whose noise counts as one
_PIXEL_ERROR: Final = 0.5  # [pixel] how far the wanted pixel may be off; matters on slopes
_NEAREST: Final = 9  # depths that tell the surface
_REWEIGHTINGS: Final = 4
_CLIP: Final = 2.5  # standard deviations
_LEAST_SPREAD: Final = 0.8  # [pixel] thinner windows have no slope in that direction
_BESIDE: Final = 1.5  # [pixel] a depth this near says what the pixel shows
_RIVAL_REACH: Final = 2.0  # [pixel] beyond the nearest depth
_QUANTUM: Final = 0.001 / math.sqrt(12.0)  # [m] standard deviation of rounding to millimetres


class ContactMethod(enum.StrEnum):
    """How a contact point was found."""

    MEDIAN = 'median'  # depth surrounds the pixel
    PLANE = 'plane'  # the pixel has no depth around it; the surface beside it was carried on


@dataclass(frozen=True, eq=False)
class ContactPoint:
    """Where the hand should touch."""

    position: FloatArray  # base frame, shape (3,) [m]
    # unit normal of the surface there, towards the camera, base frame, shape (3,)
    normal: FloatArray
    uncertainty: float  # one standard deviation of the position along the line of sight [m]
    method: ContactMethod


class ContactDepthError(NoObjectError):
    """There is too little depth around the contact pixel."""


def locate_contact(
    depth: DepthImage,
    mask: Mask,
    camera: CameraIntrinsics,
    T_base_camera: npt.ArrayLike,
    pixel: tuple[float, float],
) -> ContactPoint:
    """Find the 3D point that a pixel of the object shows.

    Args:
        depth: Distance along the optical axis, NaN where missing. Shape (h, w). [m].
        mask: Pixels of the object; only they count. Shape (h, w).
        camera: Intrinsics of the image.
        T_base_camera: Maps the camera's optical frame to the base frame. Shape (4, 4). [m].
        pixel: (column, row); pixel centres are whole numbers. [pixel].

    Raises:
        ContactDepthError: Even the largest window holds too little depth.
        InvalidInputError: The pixel lies outside the image, or sizes differ.
    """
    pose = finite_array('T_base_camera', T_base_camera, (4, 4))
    column, row = (float(value) for value in finite_array('contact pixel', pixel, (2,)))
    size = (camera.height, camera.width)
    if depth.shape != size or mask.shape != size:
        raise InvalidInputError(
            f'Depth {depth.shape} and mask {mask.shape} must both be {size}, rows and columns.'
        )
    if not (-0.5 <= column <= camera.width - 0.5 and -0.5 <= row <= camera.height - 0.5):
        raise InvalidInputError(
            f'Contact pixel ({column:.1f}, {row:.1f}) lies outside the image of '
            f'{camera.width} x {camera.height} pixels.'
        )
    usable = np.where(mask & np.isfinite(depth) & (depth > 0.0), depth, 0.0)
    column, row = camera.undistort((column, row))[0].tolist()
    patch = _surface_around(usable, camera, (column, row))
    ray = np.array([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, 1.0])
    # 1/z = a u + b v + c is the plane (a fx, b fy, c + a cx + b cy) . p = 1.
    a, b = patch.gradient
    normal = np.array([a * camera.fx, b * camera.fy, 1.0 / patch.depth])
    normal[2] += a * (camera.cx - column) + b * (camera.cy - row)
    return ContactPoint(
        position=pose[:3, :3] @ (patch.depth * ray) + pose[:3, 3],
        normal=pose[:3, :3] @ (-normal / np.linalg.norm(normal)),
        uncertainty=patch.uncertainty * float(np.linalg.norm(ray)),
        method=patch.method,
    )


class _Samples(NamedTuple):
    """Depths [m] of a window, nearest first, at offsets (u, v) from the wanted pixel. (n,)."""

    u: FloatArray
    v: FloatArray
    depth: FloatArray


class _Patch(NamedTuple):
    """Local surface: depth at the pixel [m], change of inverse depth per pixel, and its error."""

    depth: float
    gradient: FloatArray
    uncertainty: float
    method: ContactMethod


def _surface_around(
    usable: DepthImage, camera: CameraIntrinsics, pixel: tuple[float, float]
) -> _Patch:
    """Fit the window; a larger one where the smaller holds too little."""
    rows, columns = np.nonzero(usable)
    # Inverse depth is linear in the pixels of a camera without distortion.
    ideal_u, ideal_v = (np.broadcast_to(g, usable.shape) for g in camera.undistorted_grid())
    u, v = ideal_u[rows, columns] - pixel[0], ideal_v[rows, columns] - pixel[1]
    order = np.argsort(np.hypot(u, v), kind='stable')
    u, v, depth = u[order], v[order], usable[rows, columns][order].astype(np.float64)
    if len(depth) < _NEAREST:
        raise ContactDepthError(
            'The object has no depth near the contact pixel; is it shiny, transparent or too near '
            'to the camera?'
        )
    # The window is set in metres, so a first depth is needed to set it in pixels.
    guess = float(np.median(depth[:_NEAREST]))
    for reach in _WINDOWS:
        radius = max(2, round(reach * camera.fx / guess))
        inside = np.maximum(np.abs(u), np.abs(v)) <= radius + 0.5
        patch = _fit(_Samples(u[inside], v[inside], depth[inside]), radius)
        if patch is not None:
            return patch
    raise ContactDepthError(
        f'Within {1000.0 * _WINDOWS[-1]:.0f} mm of the contact pixel ({pixel[0]:.1f}, '
        f'{pixel[1]:.1f}) there are fewer than {_LEAST_SAMPLES} usable depths on the object; look '
        'again from another side or in other light.'
    )


def _fit(samples: _Samples, radius: int) -> _Patch | None:
    """Fit of one window, or None where it holds too little of one surface."""
    u, v, depth = samples
    if len(depth) < _LEAST_SAMPLES:
        return None
    distance = np.hypot(u, v)
    seed = float(np.median(depth[:_NEAREST]))
    # Growing outwards from the seed follows a slope that a fixed band of depths would cut off.
    plane = np.array([0.0, 0.0, 1.0 / seed])
    limit, reach = _DEPTH_JUMP, max(2.5, float(distance[_NEAREST - 1]) + 0.5)
    chosen = np.zeros(len(depth), dtype=np.bool_)
    for step in range(_REWEIGHTINGS + 1):
        chosen = (np.abs(depth - _depth_of(plane, u, v)) < limit) & (distance <= reach)
        if np.count_nonzero(chosen) < 3:
            return None
        plane = _inverse_depth_fit(u[chosen], v[chosen], depth[chosen])
        spread = _spread(depth[chosen] - _depth_of(plane, u[chosen], v[chosen]))
        reach = radius if step == _REWEIGHTINGS - 1 else min(reach * 1.6, radius)
        limit = float(np.clip(_CLIP * spread, 0.0025, _DEPTH_JUMP))
    if np.count_nonzero(chosen) < _LEAST_SAMPLES:
        return None
    # In a lost band the pixel may belong to another surface as near to it as the chosen one.
    rivals = depth[distance <= distance[0] + _RIVAL_REACH]
    doubt = 0.5 * float(np.abs(rivals - seed).max()) if distance[0] > _BESIDE else 0.0
    doubt = doubt if doubt > 0.5 * _DEPTH_JUMP else 0.0
    return _patch(_Samples(u[chosen], v[chosen], depth[chosen]), plane, doubt)


def _patch(samples: _Samples, plane: FloatArray, doubt: float) -> _Patch | None:
    """Depth at the pixel from the samples of its surface, with its uncertainty."""
    u, v, depth = samples
    surface = _depth_of(plane, u, v)
    found = float(np.median(depth - surface + 1.0 / plane[2]))
    if not 0.5 * depth.min() < found < 2.0 * depth.max():
        return None
    independent = max(1.0, len(depth) / _CORRELATION_AREA)
    leverage = _leverage(u, v) * len(u)  # 1 in the middle of the samples, more beside them
    shared = _DEPTH_NOISE * found * found
    # How much the depth changes over the error of the pixel.
    sloped = float(np.linalg.norm(plane[:2])) * found * found * _PIXEL_ERROR
    scatter = (_spread(depth - surface) ** 2 + shared**2) * leverage / independent
    surrounded = all(np.any(sign * axis >= 0.0) for axis in (u, v) for sign in (-1.0, 1.0))
    beside = surrounded and float(np.hypot(u, v).min()) <= _BESIDE
    return _Patch(
        depth=found,
        gradient=plane[:2],
        uncertainty=math.sqrt(scatter + _QUANTUM**2 + sloped**2 + doubt**2),
        method=ContactMethod.MEDIAN if beside else ContactMethod.PLANE,
    )


def _depth_of(plane: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Depth of the plane 1/z = a u + b v + c at pixels (u, v). Shape (n,). [m]."""
    inverse = plane[0] * u + plane[1] * v + plane[2]
    return np.asarray(1.0 / np.maximum(inverse, 1e-3))


def _inverse_depth_fit(u: FloatArray, v: FloatArray, values: FloatArray) -> FloatArray:
    """(a, b, c) of 1/z = a u + b v + c; flat in a direction in which the samples do not spread."""
    inverse = 1.0 / values
    mean = np.array([u.mean(), v.mean()])
    offsets = np.stack([u, v], axis=1) - mean
    spreads, directions = np.linalg.eigh(offsets.T @ offsets / len(u))
    gradient = np.zeros(2)
    for spread, direction in zip(spreads, directions.T, strict=True):
        if spread > _LEAST_SPREAD**2:
            along = offsets @ direction
            gradient += direction * float(along @ (inverse - inverse.mean())) / (along @ along)
    return np.append(gradient, inverse.mean() - gradient @ mean)


def _leverage(u: FloatArray, v: FloatArray) -> float:
    """Variance at the pixel (0, 0) of a plane fitted at (u, v), over that of one sample."""
    mean = np.array([u.mean(), v.mean()])
    offsets = np.stack([u, v], axis=1) - mean
    covariance = offsets.T @ offsets + np.eye(2) * _LEAST_SPREAD**2
    return 1.0 / len(u) + float(mean @ np.linalg.solve(covariance, mean))


def _spread(residual: FloatArray) -> float:
    """Standard deviation of residuals (n,), from their median absolute value. [m]."""
    return 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
