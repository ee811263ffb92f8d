# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
import platform

import common
import numpy as np
import pytest

from deft_core.errors import InvalidInputError


def test_a_result_holds_what_makes_a_number_worth_something(tmp_path):
    measurements = {
        'steps_per_s': np.float64(5120.4),
        'cores': np.int64(1),
        'shares': {'physics': 0.7, 'camera': 0.3},
        'reward': common.interval([0.4, 0.5, 0.6]),
        'rows': [{'method': 'cem', 'rewards': np.array([0.5, 0.25])}],
    }
    path = common.write_result(
        'simulation', measurements, 'python benchmarks/simulation.py', directory=tmp_path / 'new'
    )
    assert path.name == 'simulation.json'
    text = path.read_text(encoding='utf-8')
    result = json.loads(text)
    assert text == json.dumps(result, indent=2, sort_keys=True) + '\n'
    assert result['measurements']['steps_per_s'] == 5120.4
    assert result['measurements']['rows'][0]['rewards'] == [0.5, 0.25]
    assert result['machine']['python'] == platform.python_version()
    assert result['machine']['libraries']['numpy'] == np.__version__
    assert result['machine']['cores'] >= 1


def test_a_result_does_not_tell_whose_machine_it_was(tmp_path):
    path = common.write_result('quiet', {'value': 1}, 'python x.py', directory=tmp_path)
    values = json.loads(path.read_text(encoding='utf-8'))
    assert set(values['machine']) == {'cpu', 'cores', 'system', 'python', 'libraries'}
    assert platform.node() not in values['machine'].values()
    assert str(common.RESULTS.parent.parent) not in path.read_text(encoding='utf-8')


@pytest.mark.parametrize(
    ('measurements', 'command'),
    [
        ({'bag': '/home/someone/runs/x'}, 'python x.py'),
        ({'rows': [{'file': 'of=/data/x'}]}, 'python x.py'),
        ({'value': 1}, '/opt/here/.venv/bin/python x.py'),
    ],
)
def test_paths_are_refused(tmp_path, measurements, command):
    with pytest.raises(InvalidInputError, match='from the root of the project'):
        common.write_result('x', measurements, command, directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_units_and_shares_are_not_taken_for_paths(tmp_path):
    measurements = {'unit': 'm/s', 'note': '3/4 of the time', 'topic': '/clock'}
    common.write_result('x', measurements, 'python benchmarks/x.py', directory=tmp_path)


@pytest.mark.parametrize(
    'measurements', [{}, {'x': float('nan')}, {'x': np.array([1.0, np.inf])}, {'x': object()}]
)
def test_values_that_are_no_measurements_are_refused(tmp_path, measurements):
    with pytest.raises(InvalidInputError):
        common.write_result('x', measurements, 'python x.py', directory=tmp_path)


@pytest.mark.parametrize('name', ['', 'With Space', '../up', 'Simulation'])
def test_names_are_snake_case(tmp_path, name):
    with pytest.raises(InvalidInputError, match='snake_case'):
        common.write_result(name, {'x': 1}, 'python x.py', directory=tmp_path)


def test_interval_is_the_bootstrap_of_the_report():
    values = np.random.default_rng(1).normal(0.5, 0.1, 20)
    found = common.interval(values)
    assert found == common.interval(values)
    assert found['low'] < found['mean'] < found['high']
    assert found['n'] == 20
    # Half width near 1.96 s / sqrt(n).
    assert (found['high'] - found['low']) / 2 == pytest.approx(
        1.96 * values.std() / np.sqrt(20), rel=0.15
    )


def test_calls_are_timed_one_by_one_after_the_warm_up():
    ticks = itertools.count(0.0, 0.5)
    calls = []
    durations = common.time_calls(
        lambda: calls.append(1), repetitions=3, warm_up=2, clock=lambda: next(ticks)
    )
    assert len(calls) == 5
    assert durations.tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(InvalidInputError, match='at least 1 repetition'):
        common.time_calls(lambda: None, repetitions=0)


def test_a_stopwatch_adds_up_parts_even_when_one_fails():
    ticks = iter([0.0, 3.0, 3.0, 4.0, 10.0, 10.0])
    watch = common.Stopwatch(lambda: next(ticks))
    with watch('physics'):
        pass
    with pytest.raises(ZeroDivisionError), watch('camera'):
        _ = 1 / 0
    with watch('physics'):
        pass
    assert watch.shares() == {'physics': 0.75, 'camera': 0.25}
    with pytest.raises(InvalidInputError, match='No part was timed'):
        common.Stopwatch().shares()


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0.012345, '0.0123'),
        (51234.6, '51,235'),
        (30, '30'),
        (12345, '12,345'),
        (True, 'yes'),
        (None, '-'),
        ('cem', 'cem'),
        ({'mean': 0.5, 'low': 0.25, 'high': 0.75, 'n': 4}, '0.5 (0.25 to 0.75)'),
    ],
)
def test_values_are_written_for_people(value, text):
    assert common.format_value(value) == text


def test_tables_are_aligned(capsys):
    common.print_table([{'method': 'cem', 'reward': 0.5}, {'method': 'long name', 'reward': 10}])
    assert capsys.readouterr().out == 'method     reward\ncem           0.5\nlong name      10\n'


def test_tables_need_equal_rows():
    with pytest.raises(InvalidInputError, match='at least one row'):
        common.print_table([])
    with pytest.raises(InvalidInputError, match='columns'):
        common.print_table([{'a': 1}, {'b': 1}])
