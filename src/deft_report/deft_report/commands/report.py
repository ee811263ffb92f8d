# SPDX-License-Identifier: Apache-2.0
"""`deft report RUN`: rebuild the report of a session from what it recorded."""

from __future__ import annotations

import argparse
from pathlib import Path

from deft_report.page import build_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `deft report` takes."""
    parser.add_argument(
        'run', type=Path, metavar='RUN', help='folder of the session, for example runs/NAME'
    )


def main(arguments: argparse.Namespace) -> int:
    """Write report.html and figures/ into the run folder and say where; returns the exit code."""
    print(f'report: {build_report(arguments.run)}')
    return 0
