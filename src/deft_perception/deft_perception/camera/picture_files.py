# SPDX-License-Identifier: Apache-2.0
"""An RGB-D frame from pictures and the calibration file of ROS' `camera_calibration`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from deft_core.camera import CameraIntrinsics, RgbdFrame, lens_distortion
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import read_bytes, read_yaml
from deft_core.validation import finite_array

_LARGEST_FILE: Final = 100_000_000  # [byte]
_MOST_PIXELS: Final = 20_000_000
_MOST_NUMBERS: Final = 20  # of an entry


def read_camera(path: Path, size: tuple[int, int]) -> CameraIntrinsics:
    """Camera of a calibration file of ROS (image_width, camera_matrix and so on).

    Args:
        path: YAML file.
        size: Width and height of the picture. [pixel].

    Raises:
        ConfigurationError: The file cannot be read, or an entry is missing or wrong.
        InvalidInputError: It is for another size, or its lens model is unknown.
    """
    document = read_yaml(path)
    stated = (document.get('image_width', size[0]), document.get('image_height', size[1]))
    if stated != size:
        raise InvalidInputError(
            f'{path} is for images of {stated[0]!r} x {stated[1]!r} pixels, the picture has '
            f'{size[0]} x {size[1]}; name the calibration of this camera and resolution.'
        )
    k = _numbers(document, 'camera_matrix', path)
    d = _numbers(document, 'distortion_coefficients', path, ())
    if len(k) != 9:
        raise ConfigurationError(f'{path}: camera_matrix must hold 9 numbers, got {len(k)}.')
    model = document.get('distortion_model', 'plumb_bob' if len(d) <= 5 else 'rational_polynomial')
    distortion = lens_distortion(str(model), d)
    return CameraIntrinsics(size[0], size[1], k[0], k[4], k[2], k[5], distortion)


def read_frame(color_path: Path, depth_path: Path, camera_path: Path, unit: float) -> RgbdFrame:
    """Frame of a colour picture and its aligned depth picture.

    Args:
        color_path: Colour or grey picture.
        depth_path: One channel, 16 bit whole numbers or floating point; 0 where depth is missing.
        camera_path: See `read_camera`.
        unit: What 1 in the depth picture means. [m].

    Raises:
        ConfigurationError: A file cannot be read or is not what it should be.
        InvalidInputError: Sizes differ, or the lens model is unknown.
    """
    color = cv2.cvtColor(
        _picture(color_path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB
    )
    stored = _picture(depth_path, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype == np.uint8:
        raise ConfigurationError(
            f'{depth_path} holds no depth: one channel of 16 bit or floating point is needed.'
        )
    depth = (stored.astype(np.float64) * unit).astype(np.float32)
    depth[~(np.isfinite(depth) & (depth > 0.0))] = np.nan
    camera = read_camera(camera_path, (color.shape[1], color.shape[0]))
    return RgbdFrame(0.0, np.asarray(color, dtype=np.uint8), depth, camera)


def _picture(path: Path, mode: int) -> npt.NDArray[Any]:
    data = read_bytes(path, _LARGEST_FILE)
    try:
        with Image.open(io.BytesIO(data)) as header:  # reads no pixel yet
            width, height = header.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise ConfigurationError(
            f'{path} is no picture of a known format, such as PNG, JPEG or TIFF.'
        ) from error
    if width * height > _MOST_PIXELS:
        raise ConfigurationError(
            f'{path} has {width} x {height} pixels, at most {_MOST_PIXELS} in all are read.'
        )
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), mode)
    if picture is None:
        raise ConfigurationError(f'{path} is damaged or of an unknown format.')
    return picture


def _numbers(
    document: dict[str, Any], name: str, path: Path, otherwise: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    entry = document.get(name)
    if entry is None and otherwise is not None:
        return otherwise
    data = entry.get('data') if isinstance(entry, dict) else None
    if not isinstance(data, list) or len(data) > _MOST_NUMBERS:
        raise ConfigurationError(f'{path}: {name} must have a list of numbers, `data`.')
    try:
        return tuple(finite_array(f'{path}: {name}', data, (len(data),)).tolist())
    except (OverflowError, TypeError, ValueError) as error:
        raise ConfigurationError(f'{path}: {name} must hold numbers ({error}).') from error
