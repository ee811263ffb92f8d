# SPDX-License-Identifier: Apache-2.0
"""Draw a success and a typical failure of a task as two rows of pictures.

The success is the expert's, the failure that of the prior alone, in the first scene in which it
fails: what practice has to overcome.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from deft_arm.planning.plan import Phase
from deft_core.camera import ColorImage
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError, SafetyError, UnreachableError
from deft_core.grasp import GraspParameters
from deft_sim.benchmark.episodes import TRAIN, TaskEpisodes
from deft_sim.environment import TableTopEnvironment

_SIZE: Final = (240, 180)  # [pixel] of a picture
_SCENES: Final = 20  # that are tried
_QUALITY: Final = 70  # of the WebP file
_GAP: Final = 4  # [pixel] between the rows


def main(arguments: list[str] | None = None) -> int:
    """Draw and write; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', maxsplit=1)[0])
    parser.add_argument('task', help='file in config/tasks')
    parser.add_argument('output', type=Path, help='picture to write, .webp or .png')
    options = parser.parse_args(arguments)
    try:
        rows = _rows(options.task)
        gap = np.full((_GAP, rows[0].shape[1], 3), 255, dtype=np.uint8)
        picture = Image.fromarray(np.concatenate([rows[0], gap, rows[1]]))
        picture.save(options.output, quality=_QUALITY)
    except (DeftError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    print(f'wrote {options.output}')
    return 0


def _rows(task: str) -> list[ColorImage]:
    """A success and a failure, each a row of pictures."""
    episodes = TaskEpisodes(task)
    environment = episodes.environment
    found: dict[bool, ColorImage] = {}
    for seed in range(_SCENES):
        for wanted in (True, False):
            if wanted in found:
                continue
            scene = episodes.lay_out(seed, TRAIN)
            prior = None if scene.prior is None else scene.prior.grasp
            grasp = environment.cell.expert_grasp() if wanted else prior
            if grasp is None:
                continue
            row = _filmed(environment, scene.frame.color, grasp)
            verdict = environment.score(exact=True)
            if row is not None and verdict.success is wanted:
                print(f'{scene.object_name}, scene seed {seed}: {verdict.explanation}')
                found[wanted] = row
        if len(found) == 2:
            episodes.close()
            return [found[True], found[False]]
    episodes.close()
    missing = 'success of the expert' if True not in found else 'failure of the prior'
    raise ConfigurationError(f'There is no {missing} of {task} in {_SCENES} scenes to be drawn.')


def _filmed(
    environment: TableTopEnvironment, first: ColorImage, grasp: GraspParameters
) -> ColorImage | None:
    """One episode as a row of pictures; None where the grasp cannot be reached."""
    cell, pictures = environment.cell, [first]
    trajectory = environment.task.load_trajectory(config_directory())
    try:
        plan = environment.plan(grasp, trajectory)
    except (UnreachableError, SafetyError):
        return None
    for phase in plan.phases:
        if phase.name is Phase.FOLLOW_TRAJECTORY:
            cell.follow_arm(phase.arm.times, phase.arm.positions)
            cell.advance(phase.duration / 2.0)
            pictures.append(cell.capture().color)
            cell.advance(phase.duration / 2.0)
        else:
            environment.play(phase)
        if phase.name is not Phase.MOVE_TO_PREGRASP:
            pictures.append(cell.capture().color)
    small = [np.asarray(Image.fromarray(picture).resize(_SIZE)) for picture in pictures]
    return np.concatenate(small, axis=1)


if __name__ == '__main__':
    sys.exit(main())
