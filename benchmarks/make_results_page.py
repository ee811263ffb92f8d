# SPDX-License-Identifier: Apache-2.0
"""Makes docs/results.md from benchmarks/results/*.json.

python benchmarks/make_results_page.py            # write the page
python benchmarks/make_results_page.py --check    # only tell whether it is in step
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from common import RESULTS, SCHEMA_VERSION, format_value

from deft_core.errors import DeftError, RecordingError

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / 'docs' / 'results.md'
# Longest ending first: `steps_per_s` is a rate, not seconds.
UNITS: Final = (
    ('_per_s', '1/s'), ('_s', 's'), ('_ms', 'ms'), ('_us', 'µs'), ('_hz', 'Hz'), ('_mm', 'mm'),
    ('_m', 'm'), ('_rad', 'rad'), ('_deg', '°'), ('_mb', 'MB'), ('_n', 'N'), ('_nm', 'N m'),
)  # fmt: skip
HEADER: Final = """\
# Results

Every number here was measured by a script in [`benchmarks/`](../benchmarks/README.md) and stands
in a file in [`benchmarks/results/`](../benchmarks/results/). This page is made from those files by
`python benchmarks/make_results_page.py`; do not edit it. Brackets hold 95% intervals.
"""
NOTHING: Final = '\nNothing has been measured yet: `make benchmarks` measures.\n'


def load_results(directory: Path) -> list[dict[str, Any]]:
    """All results of a folder by name.

    Raises:
        RecordingError: A file that `write_result` did not write.
    """
    results = []
    for path in sorted(directory.glob('*.json')):
        try:
            result = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RecordingError(
                f'{path.name} cannot be read as JSON ({error}); run its benchmark again.'
            ) from error
        keys = {'schema_version', 'name', 'command', 'date', 'machine', 'measurements'}
        if not isinstance(result, dict) or not keys <= result.keys():
            raise RecordingError(
                f'{path.name} needs the entries {sorted(keys)}; run its benchmark again.'
            )
        if result['schema_version'] != SCHEMA_VERSION or result['name'] != path.stem:
            raise RecordingError(
                f'{path.name} is version {result["schema_version"]} of {result["name"]!r}, '
                f'expected version {SCHEMA_VERSION} of {path.stem!r}; run its benchmark again.'
            )
        results.append(result)
    return results


def make_page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page as Markdown."""
    if not results:
        return HEADER + NOTHING
    return HEADER + ''.join(_section(result) for result in results)


def _section(result: Mapping[str, Any]) -> str:
    machine = result['machine']
    libraries = ', '.join(
        f'{name} {version}' for name, version in sorted(machine['libraries'].items())
    )
    cores = f'{machine["cores"]} core{"" if machine["cores"] == 1 else "s"}'
    lines = [
        f'## {_words(result["name"]).capitalize()}',
        f'```bash\n{result["command"]}\n```',
        *_blocks(result['measurements']),
        f'<sub>{result["date"]}; {_escape(machine["cpu"])}, {cores}, {machine["system"]}; '
        f'Python {machine["python"]}, {libraries}</sub>',
    ]
    return ''.join(f'\n{line}\n' for line in lines)


def _blocks(measurements: Mapping[str, Any]) -> Iterator[str]:
    """Single values first, in one table; then nested ones, each under its own heading."""
    single = {key: value for key, value in measurements.items() if _is_single(value)}
    if single:
        yield _value_table(single)
    for key, value in measurements.items():
        if key in single:
            continue
        yield f'### {_words(key).capitalize()}'
        if isinstance(value, Mapping):
            yield from _blocks(value)
        elif value and all(isinstance(row, Mapping) for row in value):
            yield _row_table(value)
        else:
            yield ', '.join(_escape(format_value(item)) for item in value)


def _is_single(value: Any) -> bool:
    if isinstance(value, Mapping):
        return {'mean', 'low', 'high'} <= value.keys()
    return not isinstance(value, list)


def _value_table(values: Mapping[str, Any]) -> str:
    lines = ['| | value | unit |', '|---|---:|---|']
    for key, value in values.items():
        name, unit = _name_and_unit(key)
        lines.append(f'| {_escape(name)} | {_escape(format_value(value))} | {unit} |')
    return '\n'.join(lines)


def _row_table(rows: Sequence[Mapping[str, Any]]) -> str:
    # dict keeps the order of first appearance.
    keys = list(dict.fromkeys(key for row in rows for key in row))
    # A column of different texts names the rows: it stands first.
    keys.sort(key=lambda key: not _names_rows([row.get(key) for row in rows]))
    names = []
    for key in keys:
        name, unit = _name_and_unit(key)
        names.append(f'{name} ({unit})' if unit else name)
    rule = [
        '---' if any(isinstance(row.get(key), str) for row in rows) else '---:' for key in keys
    ]
    lines = [names, rule]
    lines += [[format_value(row.get(key)) for key in keys] for row in rows]
    return '\n'.join(f'| {" | ".join(_escape(cell) for cell in line)} |' for line in lines)


def _names_rows(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values) and len(set(values)) == len(values)


def _name_and_unit(key: str) -> tuple[str, str]:
    for ending, unit in UNITS:
        if key.endswith(ending) and key != ending:
            return _words(key.removesuffix(ending)), unit
    return _words(key), ''


def _words(name: str) -> str:
    return name.replace('_', ' ')


def _escape(text: str) -> str:
    return text.replace('|', '\\|').replace('<', '&lt;').replace('\n', ' ')


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or tell whether it is in step with the results.

    Returns:
        Exit code: 0; 1 when `--check` finds a stale page; 3 when a result cannot be read.
    """
    parser = argparse.ArgumentParser(description='Make docs/results.md from the result files.')
    parser.add_argument('--check', action='store_true', help='write nothing, only compare')
    options = parser.parse_args(arguments)
    try:
        page = make_page(load_results(RESULTS))
    except DeftError as error:
        print(f'make_results_page: {error}', file=sys.stderr)
        return 3
    shown = PAGE.relative_to(ROOT)
    if options.check:
        if PAGE.is_file() and PAGE.read_text(encoding='utf-8') == page:
            return 0
        print(
            f'{shown} is not what the result files give; '
            'run `python benchmarks/make_results_page.py`.',
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(page, encoding='utf-8')
    print(f'wrote {shown}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
