# SPDX-License-Identifier: Apache-2.0
"""Record the demonstration of a task in simulation: wrist trajectory, start and goal image.

The two pictures anchor the visual rewards (paper, section 5).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from PIL import Image

from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError
from deft_sim.environment import TableTopEnvironment

_JPEG_QUALITY: Final = 90  # a VGA picture of some 40 kB


def main(arguments: list[str] | None = None) -> int:
    """Record and write; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', maxsplit=1)[0])
    parser.add_argument('task', help='file in config/tasks')
    parser.add_argument(
        '--output',
        type=Path,
        help='folder with folders trajectories and goals; config by default',
    )
    options = parser.parse_args(arguments)
    try:
        folder: Path = options.output or config_directory()
        for part in ('trajectories', 'goals'):
            if not (folder / part).is_dir():
                raise ConfigurationError(f'There is no folder {folder / part}; create it first.')
        environment = TableTopEnvironment.open(options.task)
        recorded = environment.demonstrate()
        path = (folder / 'trajectories' / environment.task.trajectory).resolve()  # a link's file
        recorded.trajectory.save(path)
        print(f'wrote {path}')
        for name, image in (('start', recorded.start), ('goal', recorded.goal)):
            path = folder / 'goals' / f'{options.task}_{name}.jpg'
            Image.fromarray(image).save(path, quality=_JPEG_QUALITY)
            print(f'wrote {path}')
        environment.close()
    except (DeftError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
