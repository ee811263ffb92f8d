# SPDX-License-Identifier: Apache-2.0
"""How exactly the camera of the simulated cell is found, with sensor noise and 20 views.

The arm visits the postures of config/postures/simulated_cell.yaml with the board on its hand; the
board is rendered and seen with the noise of the camera. Truth is the simulator's camera pose,
which config/simulation/cell.yaml sets apart from the calibration file on purpose. Every run takes
the views anew with another noise; the runs of a second table add errors of the arm's poses, which
the simulated arm does not have.

    python benchmarks/calibration.py                 # writes results/calibration.json
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any, Final

import numpy as np
from common import interval, print_table, write_result

from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_core.rotations import matrix_from_rotation_vector, transform
from deft_core.validation import FloatArray
from deft_perception.calibration.board import BoardDetector, load_board
from deft_perception.calibration.hand_eye import CalibrationView, pose_difference, solve_shah
from deft_perception.calibration.postures import load_postures
from deft_perception.calibration.settings import CalibrationSettings
from deft_perception.calibration.solve import calibrate
from deft_sim.calibration import take_views
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import CALIBRATION, load_simulation_settings
from deft_sim.tasks import simulated_task

COMMAND: Final = 'python benchmarks/calibration.py'
VIEWS: Final = 20
ARM_ERRORS: Final = ((0.0005, 0.0005), (0.001, 0.001), (0.002, 0.002))  # [m], [rad] per axis
ARM_REPETITIONS: Final = 20


def errors(found: FloatArray, truth: FloatArray) -> tuple[float, float]:
    """Distance [mm] and angle [deg] of a camera pose from the truth."""
    translation, rotation = pose_difference(truth, found)
    return 1000.0 * translation, float(np.degrees(rotation))


def disturbed(
    view: CalibrationView, sizes: tuple[float, float], rng: np.random.Generator
) -> CalibrationView:
    """The view with an error of the arm's pose."""
    step = transform(
        matrix_from_rotation_vector(rng.normal(0.0, sizes[1], 3)), rng.normal(0.0, sizes[0], 3)
    )
    return replace(view, T_base_flange=view.T_base_flange @ step)


def measure(runs: int) -> dict[str, Any]:
    """Calibrate again and again.

    Args:
        runs: Number of tours of the arm, each with noise of its own.
    """
    folder = config_directory()
    simulation = load_simulation_settings(folder)
    board = load_board(simulation.cell.board_mount.board, folder)
    postures = load_postures(CALIBRATION, folder).matrix()[:VIEWS]
    camera, settings = simulation.cell.camera.intrinsics, CalibrationSettings()
    detector, task = BoardDetector(board), simulated_task('pick_cup')
    rows: list[dict[str, Any]] = []
    by_method: dict[str, list[tuple[float, float]]] = {}
    views: list[CalibrationView] = []
    for run in range(runs):
        cell = SimulatedCell(simulation, task, scene_seed=run, board=board)
        truth = cell.camera_pose()
        views = list(take_views(cell, detector, postures))
        cell.close()
        result = calibrate(views, camera, settings)
        translation, rotation = errors(result.solution.T_base_camera, truth)
        rows.append(
            {
                'run': run,
                'views': len(views),
                'rejected': len(result.rejected),
                'translation_mm': translation,
                'rotation_deg': rotation,
                'deviation_stated_mm': 1000.0 * result.refinement.translation_deviation,
                'held_out_reprojection_pixel': result.judged.reprojection,
                'held_out_translation_mm': 1000.0 * result.judged.translation,
            }
        )
        start = solve_shah(views).T_base_camera
        by_method.setdefault('shah', []).append(errors(start, truth))
        by_method.setdefault('refined', []).append((translation, rotation))
    return {
        'runs': runs,
        'views': VIEWS,
        'translation_mm': max(row['translation_mm'] for row in rows),
        'rotation_deg': max(row['rotation_deg'] for row in rows),
        'mean_translation_mm': interval([row['translation_mm'] for row in rows]),
        'mean_rotation_deg': interval([row['rotation_deg'] for row in rows]),
        'each_run': rows,
        'methods': [
            {
                'method': method,
                'mean_translation_mm': float(np.mean([pair[0] for pair in pairs])),
                'mean_rotation_deg': float(np.mean([pair[1] for pair in pairs])),
            }
            for method, pairs in by_method.items()
        ],
        'with_errors_of_the_arm': [_with_arm_error(views, sizes) for sizes in ARM_ERRORS],
    }


def _with_arm_error(views: list[CalibrationView], sizes: tuple[float, float]) -> dict[str, Any]:
    """Errors of the refined camera where every pose of the arm is off by a normal draw."""
    folder = config_directory()
    simulation = load_simulation_settings(folder)
    truth = SimulatedCell(simulation, simulated_task('pick_cup')).camera_pose()
    settings = CalibrationSettings(
        maximum_reprojection_error=50.0,
        maximum_translation_residual=0.1,
        arm_translation_deviation=sizes[0],
        arm_rotation_deviation=sizes[1],
    )
    rng = np.random.default_rng(0)
    found = [
        errors(
            calibrate(
                [disturbed(view, sizes, rng) for view in views],
                simulation.cell.camera.intrinsics,
                settings,
            ).solution.T_base_camera,
            truth,
        )
        for _ in range(ARM_REPETITIONS)
    ]
    return {
        'arm_mm': 1000.0 * sizes[0],
        'arm_deg': float(np.degrees(sizes[1])),
        'mean_translation_mm': float(np.mean([pair[0] for pair in found])),
        'mean_rotation_deg': float(np.mean([pair[1] for pair in found])),
        'largest_translation_mm': float(np.max([pair[0] for pair in found])),
        'largest_rotation_deg': float(np.max([pair[1] for pair in found])),
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--runs', type=int, default=5, help='tours of the arm')
    options = parser.parse_args()
    try:
        measurements = measure(options.runs)
        tables = ('each_run', 'methods', 'with_errors_of_the_arm')
        single = {key: value for key, value in measurements.items() if key not in tables}
        print_table([{'quantity': key, 'value': value} for key, value in single.items()])
        for table in tables:
            print()
            print_table(measurements[table])
        write_result('calibration', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
