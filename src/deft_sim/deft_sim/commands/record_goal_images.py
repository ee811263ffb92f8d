# SPDX-License-Identifier: Apache-2.0
"""Record the demonstration of Pick Cup and keep the pictures before it and at its end.

They anchor the visual rewards (paper, section 5): the goal image is the last one of the
demonstration, the start image the scene it began with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from PIL import Image

from deft_core.camera import ColorImage
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError
from deft_sim.demonstration import OBJECT, SCENE_SEED, record
from deft_sim.environment import TableTopEnvironment

TASK: Final = 'pick_cup'
_JPEG_QUALITY: Final = 90  # a VGA picture of some 40 kB


def demonstration_images(environment: TableTopEnvironment) -> tuple[ColorImage, ColorImage]:
    """First and last picture of the demonstration, RGB, shape (height, width, 3) each.

    Args:
        environment: The cell; its scene is laid out anew.

    Raises:
        TrainingError: The expert lost the cup, so this is no demonstration.
    """
    start = environment.reset(SCENE_SEED, OBJECT).color.copy()
    record(environment)
    return start, environment.final_image().color.copy()


def main(arguments: list[str] | None = None) -> int:
    """Record and write; returns the exit code.

    Args:
        arguments: Command line without the program; that of the process when None.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', maxsplit=1)[0])
    parser.add_argument('--output', type=Path, help='folder; config/goals by default')
    output: Path | None = parser.parse_args(arguments).output
    try:
        folder = config_directory() / 'goals' if output is None else output
        if not folder.is_dir():
            raise ConfigurationError(f'There is no folder {folder}; create it first.')
        environment = TableTopEnvironment.open(TASK)
        start, goal = demonstration_images(environment)
        environment.close()
        for name, image in (('start', start), ('goal', goal)):
            path = folder / f'{TASK}_{name}.jpg'
            Image.fromarray(image).save(path, quality=_JPEG_QUALITY)
            print(f'wrote {path}')
    except (DeftError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
