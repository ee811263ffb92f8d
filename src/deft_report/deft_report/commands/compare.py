# SPDX-License-Identifier: Apache-2.0
"""`deft compare RUN...`: the results of several runs in one table, with their curves."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from deft_core.errors import ConfigurationError
from deft_report.build import load_run
from deft_report.comparison import compare
from deft_report.comparison_page import check_output, sentences, table, write
from deft_report.object_sets import known_object_sets
from deft_report.record import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `deft compare` takes."""
    parser.description = (
        'Print the trials of several runs as a table with Wilson intervals, and say which '
        'differences they can show. Runs that stopped early or never practised are welcome.'
    )
    parser.add_argument('runs', type=Path, nargs='+', metavar='RUN', help='folder of a session')
    parser.add_argument(
        '--output',
        type=Path,
        metavar='FILE',
        help='also draw curves and rates: a .png picture, or an .html page with the table',
    )


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison, and write it where asked.

    Args:
        arguments: Of `add_arguments`.

    Returns:
        Exit code 0.

    Raises:
        ConfigurationError: A run is named twice, or the output is no picture and no page.
        RecordingError: A folder is no run or cannot be read, or the output cannot be written.
    """
    if arguments.output is not None:
        check_output(arguments.output)
    records = load_runs(arguments.runs)
    comparison = compare(records, known_object_sets)
    for line in (*table(comparison), '', *sentences(comparison)):
        print(line)
    if arguments.output is not None:
        command = ['deft', 'compare', *(shlex.quote(label) for label in records)]
        command += ['--output', shlex.quote(arguments.output.name)]
        write(comparison, arguments.output, command)
        print(f'wrote {arguments.output}')
    return 0


def load_runs(runs: Sequence[Path]) -> dict[str, RunRecord]:
    """Read runs under labels that tell them apart: as little of their paths as that takes.

    Raises:
        ConfigurationError: A run is named twice.
        RecordingError: A folder is no run or cannot be read.
    """
    places = [run.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise ConfigurationError(f'the run {run} is named more than once; name it once')
    names = [place.name for place in places]
    labels = [
        place.name if names.count(place.name) == 1 else os.path.join(*place.parts[-2:])  # noqa: PTH118
        for place in places
    ]
    return {label: load_run(run) for label, run in zip(labels, runs, strict=True)}
