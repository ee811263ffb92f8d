# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deft_core.configuration import build, config_directory, load_yaml
from deft_core.errors import ConfigurationError
from deft_core.task import load_task, task_names


@dataclass(frozen=True)
class Inner:
    radius: float = field(metadata={'minimum': 0.0, 'maximum': 1.0, 'unit': 'm'})


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    speeds: tuple[float, ...] = field(default=(1.0,), metadata={'maximum': 3.0})
    limit: int | None = None


GOOD = {'name': 'a', 'inner': {'radius': 0.5}}


def test_plain_values_become_nested_dataclasses():
    outer = build(Outer, {**GOOD, 'speeds': [1, 2.5]}, 'here')
    assert outer == Outer('a', Inner(0.5), (1.0, 2.5), None)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({**GOOD, 'naem': 'b'}, r"unknown entry 'naem'; did you mean 'name'\?"),
        ({'name': 'a'}, "entry 'inner' is missing"),
        ({**GOOD, 'inner': {'radius': 2.0}}, 'radius must be 0.0 to 1.0 m, got 2.0'),
        ({**GOOD, 'inner': {'radius': float('nan')}}, 'radius must be a finite number'),
        ({**GOOD, 'inner': {'radius': '0.5'}}, "radius must be float, got '0.5'"),
        ({**GOOD, 'speeds': [1.0, 4.0]}, 'speeds must be -inf to 3.0, got 4.0'),
        ({**GOOD, 'limit': True}, 'limit must be int, got True'),
    ],
)
def test_wrong_values_are_refused_by_name(values, message):
    with pytest.raises(ConfigurationError, match=message):
        build(Outer, values, 'here')


def test_yaml_tags_cannot_build_objects(tmp_path: Path):
    path = tmp_path / 'evil.yaml'
    path.write_text('name: !!python/object/apply:os.system ["true"]\n')
    with pytest.raises(ConfigurationError, match=r'evil\.yaml'):
        load_yaml(path, Outer)


def test_every_shipped_task_loads_with_its_trajectory():
    names = task_names(config_directory())
    assert 'pick_cup' in names
    for name in names:
        task = load_task(name, config_directory())
        assert len(task.load_trajectory(config_directory())) == 40


def test_unknown_task_names_the_known_ones():
    with pytest.raises(
        ConfigurationError,
        match=r"Unknown task 'pick_cupp': it is not in .*; did you mean 'pick_cup'",
    ):
        load_task('pick_cupp', config_directory())
