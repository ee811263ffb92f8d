# SPDX-License-Identifier: Apache-2.0
"""`deft train RUN [RUN ...]`: fit the residual policy to the bags of one or more sessions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deft_bag.dataset import read_dataset
from deft_bag.reader import BAG_FOLDER
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE
from deft_cem.policies.training import train_policy
from deft_cem.settings import load_learning_settings
from deft_core.errors import ConfigurationError, DeftError

DESCRIPTION = 'Train the residual policy from the bags of one or more runs.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `deft train` takes."""
    parser.add_argument(
        'runs',
        type=Path,
        nargs='+',
        metavar='RUN',
        help='folder of a run, of a bag, or an .mcap file; several are joined in this order',
    )
    parser.add_argument(
        '--output',
        type=Path,
        metavar='DIR',
        default=None,
        help='folder for the policy (default: the run; needed for several runs or a bare bag)',
    )
    parser.add_argument(
        '--settings',
        type=Path,
        default=None,
        help='learning settings (default: learning.yaml of the configuration folder)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of weights and noise (default 0)')


def main(arguments: argparse.Namespace) -> int:
    """Train and say what was tried and what is deployed; returns the exit code."""
    if arguments.seed < 0:
        raise ConfigurationError(f'--seed is {arguments.seed}, expected 0 or more')
    settings = load_learning_settings(arguments.settings)
    practice, damaged = read_dataset(arguments.runs)
    output = _output(arguments.runs, arguments.output)
    report = train_policy(practice, output, settings, seed=arguments.seed)
    for sentence in damaged:
        print(f'note: {sentence}')
    print(f'trained on {len(report.elite_ids)} elites of {report.practice_count} episodes')
    for row in report.choice.candidates():
        if 'failure' in row:
            print(f'  {row["kind"]}: {row["failure"]}')
        else:
            print(f'  {row["kind"]}: left-out error {row["left_out_error"]:.3f}')
    print(f'deployed {report.policy.method.kind}: {report.choice.reason}')
    print(f'wrote {output / WEIGHTS_FILE} and {CONFIG_FILE}')
    return 0


def _output(runs: Sequence[Path], wish: Path | None) -> Path:
    """Folder the policy goes to; made if it does not exist."""
    if wish is None:
        if len(runs) > 1 or not (runs[0] / BAG_FOLDER).is_dir():
            raise ConfigurationError(
                'a policy of several runs, or of a bag outside a run folder, belongs to none of '
                'them; name a folder for it with --output'
            )
        return runs[0]
    try:
        wish.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f'--output {wish} cannot be made: {error}') from error
    return wish


if __name__ == '__main__':
    # The session node starts this module; `deft train` mounts the same two functions.
    own_parser = argparse.ArgumentParser(prog='deft train', description=DESCRIPTION)
    add_arguments(own_parser)
    try:
        sys.exit(main(own_parser.parse_args()))
    except DeftError as refusal:
        print(f'error: {refusal}', file=sys.stderr)
        sys.exit(2 if isinstance(refusal, ConfigurationError) else 3)
