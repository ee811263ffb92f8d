# SPDX-License-Identifier: Apache-2.0
"""`deft train RUN`: fit the residual policy to the bag of a session."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deft_cem.policy import CONFIG_FILE, WEIGHTS_FILE
from deft_cem.settings import load_learning_settings
from deft_cem.training import train_policy
from deft_core.errors import ConfigurationError, DeftError

DESCRIPTION = 'Train the residual policy from the bag of a run.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command.

    Args:
        parser: Parser of `deft train`, or of this module when run alone.
    """
    parser.add_argument('run', type=Path, help='folder of the run; holds bag/')
    parser.add_argument(
        '--settings',
        type=Path,
        default=None,
        help='learning settings (default: learning.yaml of the configuration folder)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of weights and noise (default 0)')


def main(arguments: argparse.Namespace) -> int:
    """Train and say in three lines what came of it.

    Args:
        arguments: As declared by `add_arguments`.

    Returns:
        Exit code 0.

    Raises:
        ConfigurationError: A wrong argument or setting.
        RecordingError: There is no bag or it cannot be read.
        TrainingError: The bag cannot be trained on.
    """
    if arguments.seed < 0:
        raise ConfigurationError(f'--seed is {arguments.seed}, expected 0 or more')
    settings = load_learning_settings(arguments.settings)
    report = train_policy(arguments.run, settings, seed=arguments.seed)
    if report.truncated:
        print('note: the bag is not closed (recording or killed); its whole episodes were used')
    print(f'trained on {len(report.elite_ids)} elites of {report.practice_count} episodes')
    print(
        f'error on left-out elites {report.fit.left_out_error:.3f}, '
        f'constant mean {report.fit.constant_error:.3f}, skill {report.skill:+.3f}'
    )
    print(f'wrote {arguments.run / WEIGHTS_FILE} and {CONFIG_FILE}')
    return 0


if __name__ == '__main__':
    # The session node starts this module; `deft train` mounts the same two functions.
    own_parser = argparse.ArgumentParser(prog='deft train', description=DESCRIPTION)
    add_arguments(own_parser)
    try:
        sys.exit(main(own_parser.parse_args()))
    except DeftError as refusal:
        print(f'error: {refusal}', file=sys.stderr)
        sys.exit(2 if isinstance(refusal, ConfigurationError) else 3)
