# SPDX-License-Identifier: Apache-2.0
"""`deft hand calibrate map`: record pairs through the running driver, fit them, write the map."""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from pathlib import Path

from deft_core.errors import DeviceError
from deft_hand_driver.calibration.fitting import FittedMap, fit_map
from deft_hand_driver.calibration.learned_map import save_map
from deft_hand_driver.calibration.pairs import load_pairs
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.description import load_hand_description

# Not imported: only nodes may import ROS, and fitting pairs again must work without it.
_NODE = 'deft_hand_driver.nodes.map_calibration_node'
_WAIT_FOR_NODE = 10.0  # [s]


def run(arguments: argparse.Namespace) -> int:
    """Record, unless pairs are given; then fit."""
    description = load_hand_description(arguments.hand)
    pairs_file = arguments.pairs
    if pairs_file is None:
        pairs_file = _new_folder(arguments) / 'pairs.json'
        _record(pairs_file, arguments)
    pairs = load_pairs(pairs_file, description)
    print(f'Fitting {len(pairs)} pairs of {pairs.date}, observed by {pairs.source}.', flush=True)
    fitted = fit_map(pairs, description)
    _print_errors(fitted)
    output = pairs_file.with_name('map.json')
    save_map(fitted.record, output)
    print(f'Wrote {output}. Use it with the launch argument hand_map:={output.resolve()}')
    return 0


def _new_folder(arguments: argparse.Namespace) -> Path:
    today = datetime.datetime.now().astimezone().date().isoformat()
    folder: Path = arguments.run or Path('runs') / f'hand_{arguments.hand}_{today}'
    number = 1
    chosen = folder
    while (chosen / 'pairs.json').exists():
        number += 1
        chosen = folder.with_name(f'{folder.name}_{number}')
    return chosen


def _record(pairs: Path, arguments: argparse.Namespace) -> None:
    """Run the node that records, until it ends."""
    parameters = {
        'pairs': str(pairs),
        'hand': arguments.hand,
        'observed': arguments.observed,
        'levels': arguments.levels,
        'postures': arguments.postures,
        'seed': arguments.seed,
    }
    command = [sys.executable, '-m', _NODE, '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    print('The fingers move now; keep yours out. Ctrl-C stops and keeps the pairs.', flush=True)
    with subprocess.Popen(command) as node:
        try:
            code = node.wait()
        except KeyboardInterrupt:
            # It was interrupted as well and closes its file.
            node.wait(_WAIT_FOR_NODE)
            if pairs.exists():
                print(f'`deft hand calibrate map --pairs {pairs}` fits what there is.')
            raise
        finally:
            if node.poll() is None:
                node.terminate()
    if code != 0:
        hint = f' `--pairs {pairs}` fits the pairs before it.' if pairs.exists() else ''
        raise DeviceError(f'The recording failed, see the sentence above.{hint}')


def _print_errors(fitted: FittedMap) -> None:
    record = fitted.record
    print('Errors against the observations, on sweeps left out of the fit:')
    print_rows(
        ('map', 'from motors rad', 'from commands rad'),
        [
            (name, f'{joint:.4f}', f'{command:.4f}')
            for name, joint, command in (
                ('closed form', record.closed_form_joint_rmse, fitted.closed_form_command_rmse),
                ('learned', record.joint_rmse, record.command_rmse),
            )
        ],
    )
    worst, error = max(record.joint_rmse_by_joint.items(), key=lambda entry: entry[1])
    print(f'Worst joint: {worst}, {error:.4f} rad.')
    if fitted.outliers:
        print(f'{fitted.outliers} pairs were far from all others and were left out.')
    if record.joint_rmse >= record.closed_form_joint_rmse:
        print('The closed form is as good on these pairs: no map is needed.')
