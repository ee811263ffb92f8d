# SPDX-License-Identifier: Apache-2.0
"""Find arm postures that show the calibration board to the simulated camera, and write them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from deft_arm.configuration import load_arm_configuration
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError
from deft_perception.calibration.board import load_board
from deft_perception.calibration.postures import save_postures
from deft_sim.calibration_postures import PostureFinder
from deft_sim.configuration import ARM, CALIBRATION, load_simulation_settings


def main(arguments: list[str] | None = None) -> int:
    """Search and write; returns the exit code.

    Args:
        arguments: Command line without the program; that of the process when None.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=24, help='number of postures (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the search (%(default)s)')
    parser.add_argument(
        '--output', type=Path, help=f'file to write; config/postures/{CALIBRATION}.yaml by default'
    )
    options = parser.parse_args(arguments)
    try:
        folder = config_directory()
        output: Path = options.output or folder / 'postures' / f'{CALIBRATION}.yaml'
        settings, arm = load_simulation_settings(folder), load_arm_configuration(ARM, folder)
        board = load_board(settings.cell.board_mount.board, folder)
        finder = PostureFinder(settings, arm, board)
        postures = finder.find(options.count, np.random.default_rng(options.seed))
        finder.close()
        save_postures(output, arm.joint_names, postures)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    print(f'wrote {output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
