# SPDX-License-Identifier: Apache-2.0
"""The two pictures that a visual reward is anchored to.

The goal image is the last picture of the demonstration (paper, section 5). The start image shows
the same scene before it: what an episode looks like that achieved nothing. By default they are
`config/goals/TASK_goal.jpg` and `config/goals/TASK_start.jpg`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from deft_core.camera import ColorImage
from deft_core.errors import ConfigurationError

GOALS_FOLDER: Final = 'goals'
_FORMATS: Final = ('JPEG', 'PNG')
_MAXIMUM_BYTES: Final = 32 * 1024 * 1024
_MAXIMUM_SIDE: Final = 8192  # [px]


def default_paths(task: str, directory: Path) -> tuple[Path, Path]:
    """Goal and start image of a task in a configuration folder."""
    folder = directory / GOALS_FOLDER
    return folder / f'{task}_goal.jpg', folder / f'{task}_start.jpg'


def load_image(path: Path) -> ColorImage:
    """Read a JPEG or PNG file.

    Returns:
        RGB. Shape (height, width, 3).

    Raises:
        ConfigurationError: The file is missing, too large or no such image.
    """
    if not path.is_file():
        raise ConfigurationError(
            f'there is no image {path}; a goal image is the last picture of a demonstration of '
            'the task, a start image shows the scene before it (JPEG or PNG)'
        )
    try:
        if path.stat().st_size > _MAXIMUM_BYTES:
            raise ConfigurationError(f'{path} is larger than 32 MB, which no goal image is')
        with Image.open(io.BytesIO(path.read_bytes()), formats=_FORMATS) as picture:
            if max(picture.size) > _MAXIMUM_SIDE:
                raise ConfigurationError(
                    f'{path} has {picture.size} pixels, expected at most {_MAXIMUM_SIDE} a side'
                )
            return np.array(picture.convert('RGB'))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise ConfigurationError(f'{path} is no readable JPEG or PNG image: {error}') from error
