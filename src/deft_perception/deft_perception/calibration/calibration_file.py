# SPDX-License-Identifier: Apache-2.0
"""Where the camera stands: the calibration file and the transform it holds."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import yaml

from deft_core.configuration import bounds, load_named
from deft_core.errors import ConfigurationError, RecordingError
from deft_core.files import write_atomically
from deft_core.rotations import matrix_from_quaternion, transform
from deft_core.validation import FloatArray
from deft_perception.calibration.hand_eye import pose_difference

SIMULATED_SERIAL: Final = 'simulated'
"""Serial number of the camera of the simulated cell."""

_IDENTIFIER: Final = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_UNIT_TOLERANCE: Final = 1e-3
_HEADER: Final = (
    '# SPDX-License-Identifier: Apache-2.0\n'
    '# Where the camera stands; src/deft_perception/README.md explains the entries.\n'
)


@dataclass(frozen=True)
class CameraCalibration:
    """Pose of the camera in the base frame, as one file in `config/calibration` holds it."""

    identifier: str  # recorded with every observation; the file's stem
    date: str  # day on which it was made, ISO 8601, quoted in YAML
    camera_serial: str  # serial number of the camera, or 'simulated'
    base_frame: str
    camera_frame: str  # child frame: the optical frame (x right, y down, z forward)
    # origin of the camera frame in the base frame
    translation: tuple[float, float, float] = field(metadata=bounds(-5.0, 5.0, 'm'))
    # unit quaternion that turns camera axes into base axes
    rotation_xyzw: tuple[float, float, float, float] = field(metadata=bounds(-1.001, 1.001))
    source: str  # how the numbers were obtained
    # looks at the board behind it; 0 where it was not measured
    views: int = field(default=0, metadata=bounds(0))
    # root mean square on held-out views, None where unknown
    reprojection_error: float | None = field(default=None, metadata=bounds(0.0, unit='pixel'))
    translation_residual: float | None = field(default=None, metadata=bounds(0.0, unit='m'))
    rotation_residual: float | None = field(default=None, metadata=bounds(0.0, unit='rad'))
    board: str = ''  # file in `config/boards` that was looked at, or ''
    # origin of the board in the flange frame while it was
    board_translation: tuple[float, float, float] | None = field(
        default=None, metadata=bounds(-1.0, 1.0, 'm')
    )
    # unit quaternion that turned board axes into flange axes
    board_rotation_xyzw: tuple[float, float, float, float] | None = field(
        default=None, metadata=bounds(-1.001, 1.001)
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be the pose of a camera."""
        _check_identifier(self.identifier)
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
                f'Calibration {self.identifier}: base_frame and camera_frame must differ.'
            )
        for name in ('rotation_xyzw', 'board_rotation_xyzw'):
            quaternion = getattr(self, name)
            if quaternion and not abs(math.hypot(*quaternion) - 1.0) <= _UNIT_TOLERANCE:
                raise ConfigurationError(
                    f'Calibration {self.identifier}: {name} must be a unit quaternion x, y, z, w '
                    f'with at least 6 digits; its length is {math.hypot(*quaternion):.6f}.'
                )

    @property
    def T_base_camera(self) -> FloatArray:  # noqa: N802
        """Maps camera coordinates to the base frame. Shape (4, 4). [m]."""
        return transform(matrix_from_quaternion(self.rotation_xyzw), self.translation)

    @property
    def T_flange_board(self) -> FloatArray:  # noqa: N802
        """Mount of the board while it was looked at. Shape (4, 4). [m].

        Raises:
            ConfigurationError: The calibration was not made with a board.
        """
        if self.board_translation is None or self.board_rotation_xyzw is None:
            raise ConfigurationError(
                f'Calibration {self.identifier} does not say where a board was on the flange, '
                'so one look cannot check it; calibrate with `deft calibrate camera`.'
            )
        return transform(matrix_from_quaternion(self.board_rotation_xyzw), self.board_translation)

    def disagreement(
        self, T_base_flange: FloatArray, T_camera_board: FloatArray
    ) -> tuple[float, float]:
        """Between the board through the arm and through the camera: distance [m], angle [rad]."""
        return pose_difference(
            T_base_flange @ self.T_flange_board, self.T_base_camera @ T_camera_board
        )


def _check_identifier(identifier: str) -> None:
    if not _IDENTIFIER.fullmatch(identifier):
        raise ConfigurationError(
            f"A calibration is named by 1 to 64 letters, digits, '_', '.' or '-', "
            f'got {identifier!r}.'
        )


class UnfitCalibrationError(ConfigurationError):
    """A calibration is too old, or belongs to another camera."""


def check_fit(
    calibration: CameraCalibration,
    today: datetime.date,
    *,
    maximum_age_days: int,
    camera_serial: str,
    simulated: bool,
) -> None:
    """Refuse a calibration that must not be trusted today, or beside another camera.

    Args:
        calibration: What is to be used.
        today: The day of the session.
        maximum_age_days: 0 allows any age.
        camera_serial: Of the camera in use, also with the underscore that realsense2_camera wants
            before it; '' allows any.
        simulated: The camera of the simulation may be used.

    Raises:
        UnfitCalibrationError: It is too old, made in the future, or of another camera.
    """
    age = (today - datetime.date.fromisoformat(calibration.date)).days
    remedy = 'calibrate again with `deft calibrate camera`'
    if age < -1:  # a day of difference is a time zone
        raise UnfitCalibrationError(
            f'Calibration {calibration.identifier} is dated {calibration.date}, {-age} days in '
            'the future; set the clock of this machine.'
        )
    if 0 < maximum_age_days < age:
        raise UnfitCalibrationError(
            f'Calibration {calibration.identifier} is {age} days old, at most '
            f'{maximum_age_days} are allowed; {remedy}.'
        )
    serial = camera_serial.removeprefix('_')
    if serial and serial != calibration.camera_serial:
        raise UnfitCalibrationError(
            f'Calibration {calibration.identifier} belongs to camera '
            f'{calibration.camera_serial!r}, but camera {serial!r} is in use; {remedy}.'
        )
    if calibration.camera_serial == SIMULATED_SERIAL and not simulated:
        raise UnfitCalibrationError(
            f'Calibration {calibration.identifier} is that of the simulated camera; calibrate '
            'yours with `deft calibrate camera` and name it with calibration:=NAME.'
        )


def new_calibration_file(identifier: str, directory: Path) -> Path:
    """Where a new calibration of this name goes.

    Where the `calibration` folder was installed as links to a source folder (`colcon build
    --symlink-install`), that is the source.

    Raises:
        ConfigurationError: The name is not allowed, or taken.
    """
    _check_identifier(identifier)
    folder = directory / 'calibration'
    path = folder / f'{identifier}.yaml'
    linked = next((other for other in sorted(folder.glob('*.yaml')) if other.is_symlink()), None)
    file = path if linked is None else linked.resolve().parent / path.name
    if path.exists() or file.exists():
        raise ConfigurationError(
            f'There is a calibration {identifier!r} already at {file}; choose another name, or '
            'move it away.'
        )
    return file


def save_calibration(calibration: CameraCalibration, directory: Path) -> Path:
    """Write a calibration into a configuration folder, or to the source that this links to.

    Raises:
        ConfigurationError: A calibration of this name exists.
        RecordingError: The file cannot be written.
    """
    file = new_calibration_file(calibration.identifier, directory)
    path = directory / 'calibration' / file.name
    values = {key: value for key, value in asdict(calibration).items() if value is not None}
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    text = yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=99)
    write_atomically(file, _HEADER + text)
    if file != path:
        try:
            path.symlink_to(file)
        except OSError as error:
            raise RecordingError(f'Cannot link {path} to the calibration: {error}') from error
    return file


def load_named_calibration(name: str, directory: Path) -> CameraCalibration:
    """A calibration by name from the `calibration` folder of a configuration folder."""
    return load_named(CameraCalibration, directory / 'calibration', name, 'identifier')
