# SPDX-License-Identifier: Apache-2.0
"""`deft train RUN`: fit the residual policy to the bag of a session."""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

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
        0, or 2 for a wrong argument or setting, or 3 when the bag cannot be trained on.
    """
    try:
        if arguments.seed < 0:
            raise ConfigurationError(f'--seed is {arguments.seed}, expected 0 or more')
        settings = load_learning_settings(arguments.settings)
        report = train_policy(arguments.run, settings, seed=arguments.seed)
    except ConfigurationError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    if report.truncated:
        print('note: the bag ends early; the episodes before its end were used')
    print(f'trained on {len(report.elite_ids)} elites of {report.practice_count} episodes')
    print(
        f'error on left-out elites {report.fit.left_out_error:.3f}, '
        f'constant mean {report.fit.constant_error:.3f}, skill {report.skill:+.3f}'
    )
    print(f'wrote {arguments.run / "policy.safetensors"} and policy.json')
    return 0


if __name__ == '__main__':
    own_parser = argparse.ArgumentParser(prog='deft train', description=DESCRIPTION)
    add_arguments(own_parser)
    sys.exit(main(own_parser.parse_args()))
