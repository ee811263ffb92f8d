# SPDX-License-Identifier: Apache-2.0
"""Puts the report of a run together: one HTML file that needs nothing else, and its pictures."""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from deft_cem.bag_reader import BagReader
from deft_core.errors import RecordingError
from deft_report import charts, figures, film
from deft_report.contents import (
    best_and_worst,
    blocks,
    cards,
    facts,
    rows,
    title,
    turning_points,
)
from deft_report.findings import Findings, find
from deft_report.policy_story import tell
from deft_report.record import RunRecord, read_json

REPORT = 'report.html'
FIGURES = 'figures'
BAG = 'bag'
SUMMARY = 'summary.json'
POLICY = 'policy.json'


def load_run(run: Path) -> RunRecord:
    """Read a run folder; summary and policy may be missing.

    Args:
        run: The folder of one session.

    Raises:
        RecordingError: No such folder, no bag, an empty or unreadable bag, damaged JSON.
    """
    if not run.is_dir():
        raise RecordingError(
            f'There is no run folder {run}; give the folder of a session, as in '
            '`deft report runs/NAME`.'
        )
    reader = BagReader(run / BAG)
    episodes = tuple(reader.episodes())
    return RunRecord(
        name=run.resolve().name,
        episodes=episodes,
        summary=read_json(run / SUMMARY),
        policy=read_json(run / POLICY),
        truncated=reader.truncated,
    )


def build_report(run: Path) -> Path:
    """Write report.html and figures/ of a run from what it recorded.

    Args:
        run: The folder of one session.

    Returns:
        The report file.

    Raises:
        RecordingError: The run cannot be read, or the report cannot be written.
    """
    return write_report(load_run(run), run)


def write_report(record: RunRecord, run: Path) -> Path:
    """Write report.html and figures/ into a folder.

    Args:
        record: What to show.
        run: Existing folder to write to.

    Returns:
        The report file.

    Raises:
        RecordingError: The folder cannot be written to.
    """
    page = render(record, _command(run))
    clips = best_and_worst(record)
    report = run / REPORT
    try:
        write_file(report, page.encode())
        (run / FIGURES).mkdir(exist_ok=True)
        for name, draw in _draws(record, find(record)).items():
            write_file(run / FIGURES / f'{name}.png', charts.to_png(draw))
        for clip in clips:
            write_file(run / FIGURES / f'film_{clip.key}.webp', film.animate(clip.film))
            write_file(run / FIGURES / f'filmstrip_{clip.key}.png', film.strip(clip.strip))
    except OSError as error:
        raise RecordingError(
            f'The report cannot be written to {run} ({error.strerror}); '
            'free space or allow writing there and run `deft report` again.'
        ) from error
    return report


def _draws(record: RunRecord, findings: Findings) -> dict[str, charts.Draw]:
    """The charts by file name."""
    return {
        'learning_curve': partial(figures.learning_curve, record, findings),
        'success_rates': partial(figures.success_rates, findings),
        'sampling_spread': partial(figures.sampling_spread, record),
        'residual_mean': partial(figures.residual_mean, record),
    }


def render(record: RunRecord, command: str) -> str:
    """The page as HTML.

    Args:
        record: What to show.
        command: The command that makes the page, shown at its end.
    """
    findings = find(record)
    clips = best_and_worst(record)
    damaged = sum(clip.film.damaged for clip in clips)
    notes = list(findings.notes)
    if damaged:
        notes.append(f'Film frames that cannot be decoded, left out: {damaged}.')
    return (
        page_environment()
        .get_template('template.html.j2')
        .render(
            title=title(record),
            name=record.name,
            facts=facts(record),
            cards=cards(findings),
            verdicts=findings.verdicts,
            yardstick=findings.yardstick,
            notes=notes,
            charts={
                name: charts.to_svg(draw, name) for name, draw in _draws(record, findings).items()
            },
            has_evaluation=bool(findings.pairs),
            policy=tell(record.policy),
            clips=clips,
            turning_points=turning_points(record),
            blocks=blocks(record),
            rows=rows(record),
            command=command,
            jpeg=_data_uri('image/jpeg', film.encode),
            webp=_data_uri('image/webp', film.animate),
        )
    )


def page_environment() -> Environment:
    """Templates of this package; what they insert is escaped, what they lack is an error."""
    return Environment(
        loader=PackageLoader('deft_report', 'templates'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _data_uri(kind: str, encode: Callable[..., bytes]) -> Callable[..., str]:
    """A template function that embeds what `encode` makes."""

    def embed(*arguments: object) -> str:
        return f'data:{kind};base64,{base64.b64encode(encode(*arguments)).decode()}'

    return embed


def _command(run: Path) -> str:
    """The command that makes this report, without the folders above the working directory."""
    shown = Path(os.path.relpath(run))
    return f'deft report {shlex.quote(shown.name if ".." in shown.parts else str(shown))}'


def write_file(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    partial_file = path.with_name(f'.{path.name}.part')
    partial_file.write_bytes(content)
    partial_file.replace(path)
