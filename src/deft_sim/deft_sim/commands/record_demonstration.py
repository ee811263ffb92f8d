# SPDX-License-Identifier: Apache-2.0
"""Record the demonstration of Pick Cup in simulation and write its wrist trajectory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError
from deft_sim.demonstration import record
from deft_sim.environment import TableTopEnvironment


def main(arguments: list[str] | None = None) -> int:
    """Record and write; returns the exit code.

    Args:
        arguments: Command line without the program; that of the process when None.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--output', type=Path, help='file to write; config/trajectories/pick_cup.json by default'
    )
    output: Path | None = parser.parse_args(arguments).output
    try:
        if output is None:
            output = config_directory() / 'trajectories' / 'pick_cup.json'
        if not output.parent.is_dir():
            raise ConfigurationError(f'There is no folder {output.parent}; create it first.')
        environment = TableTopEnvironment.open('pick_cup')
        record(environment).save(output)
        environment.close()
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 3
    print(f'wrote {output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
