# SPDX-License-Identifier: Apache-2.0
"""`deft compare RUN...`: the results of several runs in one table, with one picture."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deft_core.errors import ConfigurationError
from deft_core.files import write_atomically
from deft_report import figures
from deft_report.comparison import compare, overview, sentences, table
from deft_report.run import RunRecord, load_run


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
        help='also draw curves and rates into a .png picture',
    )


def main(arguments: argparse.Namespace) -> int:
    """Print the comparison, and draw it where asked; returns the exit code."""
    output: Path | None = arguments.output
    if output is not None:
        if output.suffix.lower() != '.png':
            raise ConfigurationError(f'{output} must end in .png')
        if not output.parent.is_dir():
            raise ConfigurationError(f'there is no folder {output.parent}; create it first')
    comparison = compare(load_runs(arguments.runs))
    for line in (*table(comparison), '', *sentences(comparison)):
        print(line)
    if output is not None:
        write_atomically(output, figures.to_png(partial(overview, comparison)))
        print(f'wrote {output}')
    return 0


def load_runs(runs: Sequence[Path]) -> dict[str, RunRecord]:
    """Read runs under labels that tell them apart: as little of their paths as that takes."""
    places = [run.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise ConfigurationError(f'the run {run} is named more than once; name it once')
    names = [place.name for place in places]
    labels = [
        place.name if names.count(place.name) == 1 else os.path.join(*place.parts[-2:])  # noqa: PTH118
        for place in places
    ]
    records: dict[str, RunRecord] = {}
    seen: dict[str, Path] = {}
    for label, run in zip(labels, runs, strict=True):
        records[label] = load_run(run, with_pictures=False)
        for episode in records[label].episodes:
            if seen.setdefault(episode.episode_id, run) != run:
                raise ConfigurationError(
                    f'{seen[episode.episode_id]} and {run} hold the same session: both have the '
                    f'episode {episode.episode_id}; name one of them'
                )
    return records
