# SPDX-License-Identifier: Apache-2.0
"""A comparison as text for a terminal and as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from deft_core.errors import ConfigurationError, RecordingError
from deft_report import charts, comparison_figures
from deft_report.build import page_environment, write_file
from deft_report.comparison import Comparison, Row

COLUMNS: Final = (
    'run', 'task', 'method', 'tried', 'objects', 'success', 'rate', '95% interval',
    'mean reward', 'practice',
)  # fmt: skip
SUFFIXES: Final = ('.png', '.html')
_RIGHT: Final = frozenset({'success', 'rate', 'practice'})


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table as text, in the order of `COLUMNS`."""
    rate, interval = row.rate, '-'
    if rate is not None:
        interval = f'{rate.interval.low:.0%} to {rate.interval.high:.0%}'
    return (
        row.run,
        row.key.task,
        row.key.method,
        row.key.tried,
        row.key.object_set,
        '-' if rate is None else f'{rate.successes}/{rate.trials}',
        '-' if rate is None else f'{rate.value:.0%}',
        interval,
        _reward(row),
        str(row.practice),
    )


def _reward(row: Row) -> str:
    if row.reward is None:
        return '-'
    if row.reward.low == row.reward.high:
        return f'{row.reward.value:.2f}'
    return f'{row.reward.value:.2f} ({row.reward.low:.2f} to {row.reward.high:.2f})'


def table(comparison: Comparison) -> list[str]:
    """The table as aligned lines; a column that says the same in every line is kept."""
    lines = [COLUMNS, *(cells(row) for row in comparison.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return [
        '  '.join(
            text.rjust(width) if name in _RIGHT else text.ljust(width)
            for text, width, name in zip(line, widths, COLUMNS, strict=True)
        ).rstrip()
        for line in lines
    ]


def sentences(comparison: Comparison) -> list[str]:
    """Verdicts and notes, one line each."""
    verdicts = [f'{v.question}: {v.answer.lower()}, {v.detail}' for v in comparison.verdicts]
    return [*verdicts, *(f'note: {note}' for note in comparison.notes)]


def check_output(path: Path) -> None:
    """Refuse a file that cannot become a picture or a page.

    Raises:
        ConfigurationError: Another suffix, or no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f'{path} must end in {" or ".join(SUFFIXES)}')
    if not path.parent.is_dir():
        raise ConfigurationError(f'there is no folder {path.parent}; create it first')


def write(comparison: Comparison, path: Path, command: Sequence[str]) -> None:
    """Write the curves, and for a page the table too.

    Args:
        comparison: What to show.
        path: A .png or .html file; replaced in one step.
        command: The command that makes it, shown on the page.

    Raises:
        ConfigurationError: See `check_output`.
        RecordingError: The file cannot be written.
    """
    check_output(path)
    if path.suffix.lower() == '.png':
        content = charts.to_png(partial(comparison_figures.overview, comparison))
    else:
        content = _page(comparison, command).encode()
    try:
        write_file(path, content)
    except OSError as error:
        raise RecordingError(f'{path} cannot be written: {error.strerror}') from error


def _page(comparison: Comparison, command: Sequence[str]) -> str:
    drawn = {}
    if comparison_figures.has_curves(comparison):
        drawn['curves'] = charts.to_svg(
            partial(comparison_figures.learning_curves, comparison), 'curves'
        )
    if comparison_figures.has_rates(comparison):
        drawn['rates'] = charts.to_svg(
            partial(comparison_figures.success_rates, comparison), 'rates'
        )
    return (
        page_environment()
        .get_template('comparison.html.j2')
        .render(
            columns=[(name, name in _RIGHT) for name in COLUMNS],
            rows=[
                (
                    row.pooled,
                    list(zip(cells(row), (name in _RIGHT for name in COLUMNS), strict=True)),
                )
                for row in comparison.rows
            ],
            charts=drawn,
            verdicts=comparison.verdicts,
            notes=comparison.notes,
            count=len(comparison.records),
            window=comparison_figures.WINDOW,
            command=' '.join(command),
        )
    )
