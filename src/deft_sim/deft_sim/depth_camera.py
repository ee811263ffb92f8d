# SPDX-License-Identifier: Apache-2.0
"""The faults of a stereo depth camera, applied to exact pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deft_core.camera import ColorImage, DepthImage
from deft_sim.configuration import CameraConfiguration

_COARSE = 8  # [pixel] grain of holes and of the correlated part of the noise


class DepthCameraModel:
    """Turns exact colour and depth into what a RealSense would deliver.

    Depth gets noise that grows with the square of the distance (a constant disparity error), half
    of it smooth over a few pixels as block matching makes it; it is rounded to whole millimetres;
    it is missing beside jumps, on surfaces seen at a grazing angle, out of range, and in random
    holes. Missing depth is NaN.
    """

    def __init__(self, configuration: CameraConfiguration) -> None:
        """Prepare the rays of the pixels."""
        self._configuration = configuration
        intrinsics = configuration.intrinsics
        rays = intrinsics.deproject(np.ones((configuration.height, configuration.width)))
        self._rays = rays.astype(np.float32)
        self._ray_lengths = np.linalg.norm(self._rays, axis=-1)

    def color(self, exact: ColorImage, generator: np.random.Generator) -> ColorImage:
        """Colour (height, width, 3) with sensor noise."""
        sigma = self._configuration.color_sigma
        noise = generator.standard_normal(exact.shape, dtype=np.float32)
        return np.clip(exact + sigma * noise + 0.5, 0.0, 255.0).astype(np.uint8)

    def depth(self, exact: DepthImage, generator: np.random.Generator) -> DepthImage:
        """Depth [m] with noise, rounding and missing pixels, from and to shape (height, width)."""
        settings = self._configuration
        missing = self._missing(exact, generator)
        white = generator.standard_normal(exact.shape, dtype=np.float32)
        noise = np.float32(np.sqrt(0.5)) * (white + self._coarse_noise(exact.shape, generator))
        noisy = exact + np.float32(settings.depth_axial) * exact**2 * noise
        quantum = np.float32(settings.depth_quantum)
        rounded = np.round(noisy / quantum) * quantum
        rounded[missing] = np.nan
        return rounded.astype(np.float32)

    def _missing(self, exact: DepthImage, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
        settings = self._configuration
        missing = (exact < settings.depth_minimum) | (exact > settings.depth_maximum)
        jump = _larger_step(exact) > settings.edge_step
        if settings.edge_width > 0 and jump.any():
            jump = ndimage.binary_dilation(jump, iterations=settings.edge_width)
        # Matching often still succeeds beside an edge, so the lost band is ragged.
        draws = generator.random(exact.shape, dtype=np.float32)
        missing |= jump & (draws < 0.85)
        missing |= (self._incidence(exact) < settings.grazing_cosine) & (draws < 0.7)
        coarse = generator.random(_coarse_shape(exact.shape), dtype=np.float32)
        holes = _enlarge(coarse < settings.hole_share, exact.shape)
        return missing | (holes & (draws < 0.9))

    def _incidence(self, exact: DepthImage) -> npt.NDArray[np.float32]:
        """Cosine between the viewing ray and the surface normal. Shape (height, width)."""
        points = self._rays * exact[..., None]
        along_rows = np.gradient(points, axis=0)
        along_columns = np.gradient(points, axis=1)
        normals = np.cross(along_columns, along_rows)
        lengths = np.linalg.norm(normals, axis=-1) * self._ray_lengths
        cosine = np.abs(np.einsum('ijk,ijk->ij', normals, self._rays)) / np.maximum(lengths, 1e-12)
        return np.asarray(cosine, dtype=np.float32)

    @staticmethod
    def _coarse_noise(
        shape: tuple[int, ...], generator: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Smooth noise of unit variance over blocks of pixels."""
        coarse = generator.standard_normal(_coarse_shape(shape), dtype=np.float32)
        fine = ndimage.zoom(coarse, _COARSE, order=1, grid_mode=True, mode='nearest')
        # Bilinear interpolation of unit noise has a mean variance of 4/9.
        return np.asarray(1.5 * fine[: shape[0], : shape[1]], dtype=np.float32)


def _larger_step(depth: DepthImage) -> DepthImage:
    """Largest difference to the neighbour below or to the right. Shape of `depth`. [m]."""
    step = np.zeros_like(depth)
    step[:-1] = np.abs(np.diff(depth, axis=0))
    step[:, :-1] = np.maximum(step[:, :-1], np.abs(np.diff(depth, axis=1)))
    return step


def _coarse_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    return (-(-shape[0] // _COARSE), -(-shape[1] // _COARSE))


def _enlarge(coarse: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    fine = np.repeat(np.repeat(coarse, _COARSE, axis=0), _COARSE, axis=1)
    return fine[: shape[0], : shape[1]]
