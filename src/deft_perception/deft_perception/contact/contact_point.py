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
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from deft_core.camera import CameraIntrinsics, DepthImage, Mask
from deft_core.errors import InvalidInputError, NoObjectError
from deft_core.validation import FloatArray, finite_array

_NEAREST: Final = 9  # depths that tell the surface
_REWEIGHTINGS: Final = 4
_CLIP: Final = 2.5  # standard deviations
_LEAST_SPREAD: Final = 0.8  # [pixel] thinner windows have no slope in that direction
_BESIDE: Final = 1.5  # [pixel] a depth this near says what the pixel shows
_RIVAL_REACH: Final = 2.0  # [pixel] beyond the nearest depth
_QUANTUM: Final = 0.001 / math.sqrt(12.0)  # [m] standard deviation of rounding to millimetres


class ContactMethod(enum.StrEnum):
    """How a contact point was found.

    Attributes:
        MEDIAN: Depth surrounds the pixel.
        PLANE: The pixel has no depth around it; the surface beside it was carried on.
    """

    MEDIAN = 'median'
    PLANE = 'plane'


@dataclass(frozen=True)
class ContactPointSettings:
    """How the depths around a pixel are used.

    Attributes:
        window: Half width of the window on the object; about half a fingertip. [m].
        largest_window: The window grows up to this where depth is missing. [m].
        least_samples: Depths that a window must hold.
        depth_jump: A larger step separates two surfaces. [m].
        depth_noise: Standard deviation of depth over its square, of the part that neighbours
            share, which averaging does not remove. [1/m].
        correlation_area: Neighbouring pixels whose noise counts as one. [pixel].
        pixel_error: How far the wanted pixel may be off; matters on slopes. [pixel].
    """

    window: float = field(default=0.006, metadata={'minimum': 0.001, 'maximum': 0.05, 'unit': 'm'})
    largest_window: float = field(
        default=0.018, metadata={'minimum': 0.002, 'maximum': 0.1, 'unit': 'm'}
    )
    least_samples: int = field(default=12, metadata={'minimum': 3, 'maximum': 1000})
    depth_jump: float = field(
        default=0.012, metadata={'minimum': 0.002, 'maximum': 0.2, 'unit': 'm'}
    )
    depth_noise: float = field(
        default=0.0016, metadata={'minimum': 0.0, 'maximum': 0.1, 'unit': '1/m'}
    )
    correlation_area: float = field(
        default=12.0, metadata={'minimum': 1.0, 'maximum': 1000.0, 'unit': 'pixel'}
    )
    pixel_error: float = field(
        default=0.5, metadata={'minimum': 0.0, 'maximum': 20.0, 'unit': 'pixel'}
    )


@dataclass(frozen=True, eq=False)
class ContactPoint:
    """Where the hand should touch.

    Attributes:
        position: Base frame. Shape (3,). [m].
        normal: Unit normal of the surface there, towards the camera, base frame. Shape (3,).
        uncertainty: One standard deviation of the position along the line of sight. [m].
        method: How it was found.
        samples: Depths that were used.
        support: Share of the window's object pixels that were used, 0 to 1.
    """

    position: FloatArray
    normal: FloatArray
    uncertainty: float
    method: ContactMethod
    samples: int
    support: float


class ContactDepthError(NoObjectError):
    """There is too little depth around the contact pixel."""


def locate_contact(
    depth: DepthImage,
    mask: Mask,
    camera: CameraIntrinsics,
    T_base_camera: npt.ArrayLike,
    pixel: tuple[float, float],
    settings: ContactPointSettings,
) -> ContactPoint:
    """Find the 3D point that a pixel of the object shows.

    Args:
        depth: Distance along the optical axis, NaN where missing. Shape (h, w). [m].
        mask: Pixels of the object; only they count. Shape (h, w).
        camera: Intrinsics of the image.
        T_base_camera: Maps the camera's optical frame to the base frame. Shape (4, 4). [m].
        pixel: (column, row); pixel centres are whole numbers. [pixel].
        settings: Window and noise.

    Raises:
        ContactDepthError: Even the largest window holds too little depth.
        InvalidInputError: The pixel lies outside the image, or sizes differ.
    """
    pose = finite_array('T_base_camera', T_base_camera, (4, 4))
    column, row = finite_array('contact pixel', pixel, (2,))
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
    usable = mask & np.isfinite(depth) & (depth > 0.0)
    patch = _surface_around(depth, usable, camera, (float(column), float(row)), settings)
    ray = np.array([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, 1.0])
    position = pose[:3, :3] @ (patch.depth * ray) + pose[:3, 3]
    # 1/z = a u + b v + c is the plane (a fx, b fy, c + a cx + b cy) . p = 1.
    a, b, c = patch.gradient[0], patch.gradient[1], 1.0 / patch.depth
    normal = np.array([a * camera.fx, b * camera.fy, 0.0])
    normal[2] = c + a * (camera.cx - column) + b * (camera.cy - row)
    normal = pose[:3, :3] @ (-normal / np.linalg.norm(normal))
    window = _box(mask, (float(column), float(row)), patch.radius)
    return ContactPoint(
        position=position,
        normal=normal,
        uncertainty=patch.uncertainty * float(np.linalg.norm(ray)),
        method=patch.method,
        samples=patch.samples,
        support=patch.samples / max(1, int(np.count_nonzero(mask[window]))),
    )


@dataclass(frozen=True, eq=False)
class _Patch:
    """Local surface: depth at the pixel [m], change of inverse depth per pixel, and its error."""

    depth: float
    gradient: FloatArray
    uncertainty: float
    method: ContactMethod
    samples: int
    radius: int


def _surface_around(
    depth: DepthImage,
    usable: Mask,
    camera: CameraIntrinsics,
    pixel: tuple[float, float],
    settings: ContactPointSettings,
) -> _Patch:
    """Fit the window; a larger one where the smaller holds too little."""
    # The window is set in metres, so a first depth is needed to set it in pixels.
    guess = _nearest_depth(depth, usable, pixel, camera.width)
    reach = settings.window
    while True:
        radius = max(2, round(reach * camera.fx / guess))
        patch = _fit(depth, usable, pixel, radius, settings)
        if patch is not None:
            return patch
        if reach >= settings.largest_window:
            raise ContactDepthError(
                f'Within {1000.0 * settings.largest_window:.0f} mm of the contact pixel '
                f'({pixel[0]:.1f}, {pixel[1]:.1f}) there are fewer than {settings.least_samples} '
                'usable depths on the object; look again from another side or in other light.'
            )
        reach = min(1.5 * reach, settings.largest_window)


def _nearest_depth(
    depth: DepthImage, usable: Mask, pixel: tuple[float, float], reach: int
) -> float:
    """Median of the depths nearest to the pixel. [m]."""
    radius = 4
    while radius < reach:
        rows, columns, values = _samples(depth, usable, pixel, radius)
        if len(values) >= _NEAREST:
            distance = np.hypot(columns - pixel[0], rows - pixel[1])
            return float(np.median(values[np.argsort(distance, kind='stable')[:_NEAREST]]))
        radius *= 2
    raise ContactDepthError(
        'The object has no depth near the contact pixel; is it shiny, transparent or too near '
        'to the camera?'
    )


def _fit(
    depth: DepthImage,
    usable: Mask,
    pixel: tuple[float, float],
    radius: int,
    settings: ContactPointSettings,
) -> _Patch | None:
    """Fit of one window, or None where it holds too little of one surface."""
    rows, columns, values = _samples(depth, usable, pixel, radius)
    if len(values) < settings.least_samples:
        return None
    u, v = columns - pixel[0], rows - pixel[1]
    distance = np.hypot(u, v)
    order = np.argsort(distance, kind='stable')
    seed = float(np.median(values[order[:_NEAREST]]))
    # Growing outwards from the seed follows a slope that a fixed band of depths would cut off.
    slope = np.zeros(3)
    slope[2] = 1.0 / seed
    limit, reach = settings.depth_jump, max(2.5, float(distance[order[_NEAREST - 1]]) + 0.5)
    chosen = np.zeros(len(values), dtype=np.bool_)
    for step in range(_REWEIGHTINGS + 1):
        residual = values - _depth_of(slope, u, v)
        chosen = (np.abs(residual) < limit) & (distance <= reach)
        if np.count_nonzero(chosen) < 3:
            return None
        slope = _inverse_depth_fit(u[chosen], v[chosen], values[chosen])
        spread = _spread(values[chosen] - _depth_of(slope, u[chosen], v[chosen]))
        reach = radius if step == _REWEIGHTINGS - 1 else min(reach * 1.6, radius)
        limit = float(np.clip(_CLIP * spread, 0.0025, settings.depth_jump))
    count = int(np.count_nonzero(chosen))
    if count < settings.least_samples:
        return None
    # In a lost band the pixel may belong to another surface as near to it as the chosen one.
    rivals = values[distance <= distance.min() + _RIVAL_REACH]
    doubt = float(np.abs(rivals - seed).max()) if distance.min() > _BESIDE else 0.0
    doubt = 0.5 * doubt if doubt > settings.depth_jump else 0.0
    return _patch(u[chosen], v[chosen], values[chosen], slope, doubt, radius, settings)


def _patch(
    u: FloatArray,
    v: FloatArray,
    values: FloatArray,
    slope: FloatArray,
    doubt: float,
    radius: int,
    settings: ContactPointSettings,
) -> _Patch | None:
    """Depth at the pixel from the chosen samples at (u, v) from it, with its uncertainty."""
    surface = _depth_of(slope, u, v)
    carried = values - surface + 1.0 / slope[2]
    found = float(np.median(carried))
    if not 0.5 * values.min() < found < 2.0 * values.max():
        return None
    residual = _spread(values - surface)
    independent = max(1.0, len(values) / settings.correlation_area)
    leverage = _leverage(u, v) * len(values)  # 1 in the middle of the samples, more beside them
    shared = settings.depth_noise * found * found
    # How much the depth changes over the error of the pixel.
    sloped = float(np.linalg.norm(slope[:2])) * found * found * settings.pixel_error
    uncertainty = math.sqrt(
        (residual**2 + shared**2) * leverage / independent + _QUANTUM**2 + sloped**2 + doubt**2
    )
    surrounded = all(np.any(sign * axis >= 0.0) for axis in (u, v) for sign in (-1.0, 1.0))
    beside = surrounded and float(np.hypot(u, v).min()) <= _BESIDE
    return _Patch(
        depth=found,
        gradient=slope[:2],
        uncertainty=uncertainty,
        method=ContactMethod.MEDIAN if beside else ContactMethod.PLANE,
        samples=len(values),
        radius=radius,
    )


def _samples(
    depth: DepthImage, usable: Mask, pixel: tuple[float, float], radius: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows, columns and depths of the usable pixels of a window. Shapes (n,). [pixel, m]."""
    window = _box(usable, pixel, radius)
    rows, columns = np.nonzero(usable[window])
    values = depth[window][rows, columns].astype(np.float64)
    return (
        rows.astype(np.float64) + window[0].start,
        columns.astype(np.float64) + window[1].start,
        values,
    )


def _box(image: Mask, pixel: tuple[float, float], radius: int) -> tuple[slice, slice]:
    column, row = round(pixel[0]), round(pixel[1])
    return (
        slice(max(row - radius, 0), min(row + radius + 1, image.shape[0])),
        slice(max(column - radius, 0), min(column + radius + 1, image.shape[1])),
    )


def _depth_of(slope: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Depth of the plane 1/z = a u + b v + c at pixels (u, v). Shape (n,). [m]."""
    inverse = slope[0] * u + slope[1] * v + slope[2]
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
