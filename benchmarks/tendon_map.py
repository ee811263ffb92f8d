# SPDX-License-Identifier: Apache-2.0
"""How well the learned map knows where the joints are, beside the closed form of the file.

Every hand hangs in MuJoCo on its simulated servos. The nominal one is as its file says; the others
drew spool zeros, moment arms and friction. The routine of `deft hand calibrate map` takes pairs
with the noise of a tracker and fits the map. Both maps are then judged on new postures that no fit
has seen, against the true joints:

- joint: the joints that measured motor angles are taken for;
- reached: the joints that the hand comes to when these postures are wanted.

    python benchmarks/tendon_map.py                  # writes results/tendon_map.json
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

import numpy as np
from common import interval, print_table, write_result
from free_hand import FreeHand

from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_core.validation import FloatArray
from deft_hand_driver.calibration.fitting import FittedMap, fit_map
from deft_hand_driver.calibration.poses import calibration_poses, random_poses
from deft_hand_driver.description import HandDescription, load_hand_description
from deft_hand_driver.joint_map import JointMap, closed_form_map
from deft_hand_driver.simulated_hand import HandMounting
from deft_sim.configuration import HAND, SimulationSettings, load_simulation_settings

COMMAND: Final = 'python benchmarks/tendon_map.py'
LEVELS: Final = 8
POSTURES: Final = 80
HELD_OUT: Final = 40
NOMINAL: Final = 'nominal'


def rmse(errors: list[FloatArray]) -> float:
    """Root mean square over all postures and joints. [rad]."""
    return float(np.sqrt(np.mean(np.square(errors))))


def judge(
    hand: FreeHand, joint_map: JointMap, closed: JointMap, wanted: list[FloatArray]
) -> tuple[float, float]:
    """Joint and reached error of a map on postures. [rad]."""
    joint, reached = [], []
    for posture in wanted:
        motors, truth = hand.settle(joint_map.motors_from_joints(posture))
        joint.append(joint_map.joints_from_motors(motors) - truth)
        # One tendon cannot choose PIP and DIP apart: what counts is what is left to choose.
        reached.append(_chosen(closed, posture) - _chosen(closed, truth))
    return rmse(joint), rmse(reached)


def _chosen(closed: JointMap, joints: FloatArray) -> FloatArray:
    """Side and forward joint, and the tendon length of PIP and DIP as one angle. Shape (4, 3)."""
    arms = closed.description.moment_arms().reshape(4, 4)
    fingers = joints.reshape(4, 4)
    curl = (fingers[:, 2:] * arms[:, 2:]).sum(axis=1) / arms[:, 2:].sum(axis=1)
    return np.column_stack([fingers[:, :2], curl])


def measure_hand(
    settings: SimulationSettings, description: HandDescription, seed: int | None
) -> tuple[dict[str, Any], FittedMap]:
    """Calibrate one hand and judge both maps.

    Args:
        settings: Of the simulation.
        description: What the driver believes.
        seed: Of the errors of this hand; None for the nominal one.
    """
    number = 0 if seed is None else seed
    poses_rng, noise_rng, judge_rng = np.random.default_rng([number, 1]).spawn(3)
    mounting = None
    if seed is not None:
        mounting = HandMounting.draw(
            description, settings.cell.hand_mounting, np.random.default_rng(seed)
        )
    hand = FreeHand(settings, description, mounting)
    closed = closed_form_map(description)
    poses = calibration_poses(description, poses_rng, LEVELS, POSTURES)
    pairs = hand.record_pairs(poses, closed, noise_rng)
    fitted = fit_map(pairs, description)
    wanted = [pose.joints for pose in random_poses(description, judge_rng, HELD_OUT)]
    joint, reached = judge(hand, fitted.learned, closed, wanted)
    closed_joint, closed_reached = judge(hand, closed, closed, wanted)
    hand.close()
    row = {
        'hand': NOMINAL if seed is None else f'seed {seed}',
        'pairs': len(pairs),
        'joint_rmse_rad': joint,
        'closed_form_joint_rmse_rad': closed_joint,
        'reached_rmse_rad': reached,
        'closed_form_reached_rmse_rad': closed_reached,
    }
    return row, fitted


def measure(hands: int) -> dict[str, Any]:
    """All hands.

    Args:
        hands: How many with errors, at least 2.
    """
    folder = config_directory()
    settings, description = load_simulation_settings(folder), load_hand_description(HAND, folder)
    rows, fits = [], []
    for seed in (None, *range(1, hands + 1)):
        row, fitted = measure_hand(settings, description, seed)
        print(
            f'{row["hand"]}: {row["joint_rmse_rad"]:.4f} rad, closed form '
            f'{row["closed_form_joint_rmse_rad"]:.4f} rad',
            flush=True,
        )
        rows.append(row)
        fits.append(fitted)
    errors = settings.cell.hand_mounting
    mounted = rows[1:]
    measurements: dict[str, Any] = {
        key: interval([row[key] for row in mounted])
        for key in (
            'joint_rmse_rad', 'closed_form_joint_rmse_rad', 'reached_rmse_rad',
            'closed_form_reached_rmse_rad',
        )
    }  # fmt: skip
    return {
        **measurements,
        'nominal_joint_rmse_rad': rows[0]['joint_rmse_rad'],
        'nominal_closed_form_joint_rmse_rad': rows[0]['closed_form_joint_rmse_rad'],
        'held_out_postures_of_each_hand': HELD_OUT,
        'tracker_noise_rad': settings.cell.variation.observed_joint_sigma,
        'largest_zero_error_rad': errors.zero,
        'largest_moment_arm_error_share': errors.moment_arm_share,
        'largest_friction_nm': errors.friction,
        'hands': rows,
        'errors_on_left_out_sweeps': _left_out(fits[1:]),
    }


def _left_out(fits: list[FittedMap]) -> list[dict[str, Any]]:
    """Mean held-out error against the noisy observations, over the hands with errors."""
    records = [fit.record for fit in fits]
    return [
        {
            'map': 'closed form',
            'joint_rmse_rad': interval([record.closed_form_joint_rmse for record in records]),
            'command_rmse_rad': interval([fit.closed_form_command_rmse for fit in fits]),
        },
        {
            'map': 'learned',
            'joint_rmse_rad': interval([record.joint_rmse for record in records]),
            'command_rmse_rad': interval([record.command_rmse for record in records]),
        },
    ]


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--hands', type=int, default=6, help='hands with errors (%(default)s)')
    options = parser.parse_args()
    try:
        measurements = measure(options.hands)
        tables = ('hands', 'errors_on_left_out_sweeps')
        single = {key: value for key, value in measurements.items() if key not in tables}
        print_table([{'quantity': key, 'value': value} for key, value in single.items()])
        for table in tables:
            print()
            print_table(measurements[table])
        write_result('tendon_map', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
