# SPDX-License-Identifier: Apache-2.0
"""Parameters of the node `camera_calibration`."""

from __future__ import annotations

from dataclasses import dataclass, field

from deft_core.errors import ConfigurationError
from deft_perception.calibration.collection import CollectionSettings, Motion
from deft_perception.calibration.solve import CalibrationSettings


@dataclass(frozen=True)
class CalibrationParameters(CalibrationSettings, CollectionSettings):
    """Parameters of the node: what makes a good calibration, and how views are taken.

    Attributes:
        board: File in `config/boards`.
        motion: Who moves the arm, 'drive' or 'operator'.
        postures: File in `config/postures`, for 'drive'.
        speed: Peak speed of the fastest joint. [rad/s].
        look_timeout: A driven arm at rest waits this long for the board, in real time. [s].
        camera_serial: Serial number of the camera, written into the calibration.
        calibration: File in `config/calibration` that a check looks at.
        maximum_translation_error: A check refuses more. [m].
        maximum_rotation_error: Likewise. [rad].
        run: Folder for pictures and views.
        start: '' serves; 'calibrate' or 'check' does one at once and ends the process.
        view_count: Views to take when started at once.
        output: Name of the calibration when started at once.
    """

    board: str = field(default='charuco_7x5', metadata={'doc': 'File in config/boards.'})
    motion: str = field(default='operator', metadata={'doc': "'drive' or 'operator'."})
    postures: str = field(default='simulated_cell', metadata={'doc': 'File in config/postures.'})
    speed: float = field(default=0.3, metadata={'minimum': 0.02, 'maximum': 1.5, 'unit': 'rad/s'})
    look_timeout: float = field(
        default=5.0, metadata={'minimum': 0.1, 'maximum': 60.0, 'unit': 's'}
    )
    camera_serial: str = field(default='', metadata={'doc': 'Of the camera in use.'})
    calibration: str = field(default='', metadata={'doc': 'What a check looks at.'})
    maximum_translation_error: float = field(
        default=0.006, metadata={'minimum': 0.0001, 'maximum': 0.1, 'unit': 'm'}
    )
    maximum_rotation_error: float = field(
        default=0.015, metadata={'minimum': 0.0001, 'maximum': 0.5, 'unit': 'rad'}
    )
    run: str = field(default='runs/calibration', metadata={'doc': 'Folder for pictures.'})
    start: str = field(default='', metadata={'doc': "'', 'calibrate' or 'check'."})
    view_count: int = field(default=20, metadata={'minimum': 4, 'maximum': 1000})
    output: str = field(default='', metadata={'doc': 'Name of the calibration to write.'})

    def __post_init__(self) -> None:
        """Check the words."""
        for name, value, known in (
            ('motion', self.motion, tuple(Motion)),
            ('start', self.start, ('', 'calibrate', 'check')),
        ):
            if value not in known:
                raise ConfigurationError(
                    f'parameters of node camera_calibration: {name} must be one of '
                    f'{", ".join(repr(str(word)) for word in known)}, got {value!r}.'
                )
