# SPDX-License-Identifier: Apache-2.0
"""Where the camera stands: the calibration file and the transform it holds."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deft_core.configuration import load_yaml, nearest
from deft_core.errors import ConfigurationError
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.validation import FloatArray

_IDENTIFIER: Final = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_UNIT_TOLERANCE: Final = 1e-3


@dataclass(frozen=True)
class CameraCalibration:
    """Pose of the camera in the base frame, as one file in `config/calibration` holds it.

    Attributes:
        identifier: Name of this calibration, recorded with every observation; the file's stem.
        date: Day on which it was made, ISO 8601, quoted in YAML.
        camera_serial: Serial number of the camera, or 'simulated'.
        base_frame: Parent frame.
        camera_frame: Child frame: the optical frame (x right, y down, z forward).
        translation: Origin of the camera frame in the base frame. [m].
        rotation_xyzw: Unit quaternion that turns camera axes into base axes.
        source: How the numbers were obtained.
    """

    identifier: str
    date: str
    camera_serial: str
    base_frame: str
    camera_frame: str
    translation: tuple[float, float, float] = field(
        metadata={'minimum': -5.0, 'maximum': 5.0, 'unit': 'm'}
    )
    rotation_xyzw: tuple[float, float, float, float] = field(
        metadata={'minimum': -1.001, 'maximum': 1.001}
    )
    source: str

    def __post_init__(self) -> None:
        """Refuse what cannot be the pose of a camera."""
        if not _IDENTIFIER.fullmatch(self.identifier):
            raise ConfigurationError(
                f'Calibration identifier {self.identifier!r} must be 1 to 64 letters, digits, '
                "'_', '.' or '-'."
            )
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise ConfigurationError(
                f'Calibration {self.identifier}: date must be a quoted ISO 8601 day such as '
                f"'2026-11-21', got {self.date!r}."
            ) from error
        for name in ('camera_serial', 'base_frame', 'camera_frame'):
            if not getattr(self, name).strip():
                raise ConfigurationError(f'Calibration {self.identifier}: {name} is empty.')
        if self.base_frame == self.camera_frame:
            raise ConfigurationError(
                f'Calibration {self.identifier}: base_frame and camera_frame are both '
                f'{self.base_frame!r}; they must differ.'
            )
        length = math.sqrt(sum(value * value for value in self.rotation_xyzw))
        if not abs(length - 1.0) <= _UNIT_TOLERANCE:
            raise ConfigurationError(
                f'Calibration {self.identifier}: rotation_xyzw must be a unit quaternion, its '
                f'length is {length:.6f}; give x, y, z, w with at least 6 digits.'
            )

    @property
    def T_base_camera(self) -> FloatArray:  # noqa: N802
        """Maps camera coordinates to the base frame. Shape (4, 4). [m]."""
        return transform(matrix_from_quaternion(self.rotation_xyzw), self.translation)


def load_calibration(path: Path) -> CameraCalibration:
    """Read one calibration file.

    Raises:
        ConfigurationError: The file is missing, incomplete, or its identifier is not its name.
    """
    calibration = load_yaml(path, CameraCalibration)
    if calibration.identifier != path.stem:
        raise ConfigurationError(
            f'{path} calls itself {calibration.identifier!r}; identifier and file name must agree.'
        )
    return calibration


def load_named_calibration(name: str, directory: Path) -> CameraCalibration:
    """Read a calibration by name from the `calibration` folder of the configuration folder.

    Raises:
        ConfigurationError: There is no such calibration, or its file is wrong.
    """
    names = sorted(path.stem for path in (directory / 'calibration').glob('*.yaml'))
    if name not in names:
        raise ConfigurationError(f'Unknown camera calibration {name!r}; {nearest(name, names)}')
    return load_calibration(directory / 'calibration' / f'{name}.yaml')
