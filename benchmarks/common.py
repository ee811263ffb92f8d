# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: timing, intervals, a table on the screen, one file per result.

A result file says what was measured, on what kind of machine and with which command, and nothing
about whose machine it was: no host name and no path.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError, RecordingError
from deft_report.statistics import Interval, bootstrap_mean

RESULTS: Final = Path(__file__).resolve().parent / 'results'
SCHEMA_VERSION: Final = 1
# What a measured number may depend on; those that are not installed are left out.
LIBRARIES: Final = (
    'numpy', 'scipy', 'torch', 'mujoco', 'mink', 'opencv-python-headless', 'rclpy',
)  # fmt: skip

Row = Mapping[str, Any]


def interval(
    values: npt.ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> dict[str, float | int]:
    """Mean with a bootstrap 95% interval, as a measurement.

    Args:
        values: One number per independent repetition. Shape (n,), n at least 2.
        seed: Of the resampling.
        resamples: Number of bootstrap samples.

    Returns:
        mean, low, high, n; what `write_result` and `print_table` take as one value.

    Raises:
        InvalidInputError: Fewer than two values, or values that are not finite.
    """
    found: Interval = bootstrap_mean(values, np.random.default_rng(seed), resamples=resamples)
    return {
        'mean': found.value,
        'low': found.low,
        'high': found.high,
        'n': int(np.asarray(values).size),
    }


def time_calls(
    function: Callable[[], object],
    *,
    repetitions: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> npt.NDArray[np.float64]:
    """Time single calls.

    Args:
        function: What to time.
        repetitions: Number of timed calls, at least 1.
        warm_up: Calls before them that are not timed: imports, caches, first allocations.
        clock: Source of seconds.

    Returns:
        Duration of each call. Shape (repetitions,). [s].

    Raises:
        InvalidInputError: No repetition, or a negative number of warm-up calls.
    """
    if repetitions < 1 or warm_up < 0:
        raise InvalidInputError(
            f'Timing needs at least 1 repetition and 0 warm-up calls, got {repetitions} '
            f'and {warm_up}.'
        )
    for _ in range(warm_up):
        function()
    durations = np.empty(repetitions)
    for index in range(repetitions):
        start = clock()
        function()
        durations[index] = clock() - start
    return durations


class Stopwatch:
    """Adds up how long the parts of a job take, to tell their shares.

    Example:
        watch = Stopwatch()
        for _ in range(100):
            with watch('physics'):
                world.step()
            with watch('camera'):
                camera.render()
        shares = watch.shares()
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start at zero.

        Args:
            clock: Source of seconds.
        """
        self._clock = clock
        self.seconds: dict[str, float] = {}

    def __call__(self, part: str) -> _Lap:
        """A context whose duration is added to `part`."""
        return _Lap(self, part, self._clock)

    def shares(self) -> dict[str, float]:
        """Share of each part in the sum of all, 0 to 1.

        Raises:
            InvalidInputError: Nothing was timed.
        """
        total = sum(self.seconds.values())
        if total <= 0.0:
            raise InvalidInputError('No part was timed, so there are no shares.')
        return {part: seconds / total for part, seconds in self.seconds.items()}


class _Lap:
    """One timed stretch of a `Stopwatch`."""

    def __init__(self, watch: Stopwatch, part: str, clock: Callable[[], float]) -> None:
        self._watch = watch
        self._part = part
        self._clock = clock
        self._start = 0.0

    def __enter__(self) -> None:
        """Start."""
        self._start = self._clock()

    def __exit__(self, *_: object) -> None:
        """Stop and add, also when the part failed: its time was spent."""
        spent = self._clock() - self._start
        self._watch.seconds[self._part] = self._watch.seconds.get(self._part, 0.0) + spent


def machine_summary() -> dict[str, Any]:
    """What a number depends on: processor, cores, versions. No host name, no paths."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        'cpu': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        'libraries': libraries,
    }


def _processor() -> str:
    """Model of the processor as the kernel names it."""
    information = Path('/proc/cpuinfo')
    if information.is_file():
        match = re.search(r'^model name\s*:\s*(.+)$', information.read_text(), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.machine()


def write_result(
    name: str,
    measurements: Mapping[str, Any],
    command: str,
    *,
    directory: Path = RESULTS,
) -> Path:
    """Write what was measured to results/NAME.json.

    Args:
        name: Name of the benchmark, in snake_case.
        measurements: Name to value. A value is a number, a text, what `interval` gives, a
            mapping of these (shares, settings) or a list of rows with equal names (a table).
            The end of a name tells its unit: `_s`, `_m`, `_rad`, `_mb`, `_per_s`.
        command: What to type at the root of the project to measure again.
        directory: Folder to write to.

    Returns:
        The file.

    Raises:
        InvalidInputError: Another kind of name or value, or a text that gives away a folder.
        RecordingError: The file cannot be written.
    """
    if not re.fullmatch(r'[a-z][a-z0-9_]*', name):
        raise InvalidInputError(f'A benchmark is named in snake_case, got {name!r}.')
    if not measurements:
        raise InvalidInputError(f'The benchmark {name} has measured nothing.')
    result = {
        'schema_version': SCHEMA_VERSION,
        'name': name,
        'command': _text('command', command),
        'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
        'machine': machine_summary(),
        'measurements': _plain(name, measurements),
    }
    path = directory / f'{name}.json'
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(result, indent=2, sort_keys=True, allow_nan=False) + '\n', encoding='utf-8'
        )
    except OSError as error:
        raise RecordingError(
            f'{path.name} cannot be written ({error.strerror}); free space or allow writing there.'
        ) from error
    return path


def _plain(where: str, value: Any) -> Any:
    """Numbers of every kind as JSON numbers; everything else that JSON lacks is refused."""
    if isinstance(value, Mapping):
        return {_text(where, key): _plain(f'{where}.{key}', item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(where, value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(f'{where}[{index}]', item) for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not np.isfinite(value):
            raise InvalidInputError(f'{where} must be finite, got {value}.')
        return value
    if isinstance(value, str):
        return _text(where, value)
    raise InvalidInputError(
        f'{where} must be a number, text, mapping or list, got {type(value).__name__}.'
    )


def _text(where: str, value: Any) -> str:
    """A text without a path from the root: results are published."""
    if not isinstance(value, str):
        raise InvalidInputError(f'{where} needs text, got {value!r}.')
    if re.search(r'(^|[\s=:\'"])(/[^\s/]+){2,}', value):
        raise InvalidInputError(
            f'{where} holds the path {value!r}; name it from the root of the project instead.'
        )
    return value


def format_value(value: Any) -> str:
    """A measured value for people: three digits that count, intervals in brackets."""
    if value is None:
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, Mapping) and {'mean', 'low', 'high'} <= value.keys():
        return (
            f'{format_value(value["mean"])} '
            f'({format_value(value["low"])} to {format_value(value["high"])})'
        )
    if isinstance(value, np.generic):
        return format_value(value.item())
    if isinstance(value, float):
        # Thousands without an exponent, small numbers with three digits.
        return f'{value:,.0f}' if abs(value) >= 1000.0 else f'{value:.3g}'
    if isinstance(value, int):
        return f'{value:,}' if abs(value) >= 10_000 else str(value)
    return str(value)


def print_table(rows: Sequence[Row]) -> None:
    """Print rows with aligned columns.

    Args:
        rows: Mappings from column name to value, in order; all with the same names.

    Raises:
        InvalidInputError: No rows, or rows with different names.
    """
    if not rows:
        raise InvalidInputError('A table needs at least one row.')
    names = list(rows[0])
    for row in rows:
        if list(row) != names:
            raise InvalidInputError(f'All rows need the columns {names}, got {list(row)}.')
    cells = [names, *([format_value(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    numeric = [all(not isinstance(row[name], str) for row in rows) for name in names]
    for line in cells:
        print(
            '  '.join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
        )
