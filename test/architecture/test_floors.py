# SPDX-License-Identifier: Apache-2.0
"""The floors of the house (docs/architecture.md): who may import what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / 'src'
FLOORS = {
    'deft_msgs': 0,
    'deft_core': 1,
    'deft_description': 1,
    'deft_perception': 2,
    'deft_affordance': 2,
    'deft_arm': 2,
    'deft_hand_driver': 2,
    'deft_cem': 3,
    'deft_report': 4,
    'deft_sim': 5,
    'rqt_deft': 5,
    'deft_bringup': 6,
}
ROS_PREFIXES = ('rclpy', 'rcl_interfaces', 'builtin_interfaces', 'rosidl', 'ament_index')
QT_PREFIXES = ('PyQt', 'PySide', 'python_qt_binding')
# The launcher finds executables in the ament index; it runs no node and reads no message.
MAY_IMPORT_AMENT_INDEX = {'deft_bringup'}


def python_files() -> list[Path]:
    return [
        path
        for package in sorted(SOURCE.iterdir())
        if package.name in FLOORS and package.name != 'deft_msgs'
        for path in sorted((package / package.name).rglob('*.py'))
    ]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import; write the whole name'
            yield node.module or ''


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0]


def is_ros(module: str) -> bool:
    top = module.split('.', maxsplit=1)[0]
    return top.startswith(ROS_PREFIXES) or top.endswith(('_msgs', '_srvs'))


@pytest.mark.parametrize('path', python_files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_follow_the_floors(path: Path):
    package = package_of(path)
    inside = path.relative_to(SOURCE / package / package)
    in_nodes = 'nodes' in inside.parts or inside.name in ('ros_client.py', 'plugin.py')
    for module in imported_modules(path):
        top = module.split('.')[0]
        if top in FLOORS and top != package:
            assert FLOORS[top] < FLOORS[package], f'{package} must not import {module}'
        if is_ros(module) and not (
            top == 'ament_index_python' and package in MAY_IMPORT_AMENT_INDEX
        ):
            assert in_nodes, f'{inside} imports {module}; only files under nodes/ may'
        if '.nodes' in module:
            assert in_nodes, f'{inside} is ROS-free and must not import {module}'
        if top == 'dynamixel_sdk':
            assert inside.name == 'port.py', f'{inside}: only port.py talks to the SDK'
        if top.startswith(QT_PREFIXES):
            assert inside.name.endswith('widget.py'), f'{inside}: only the widget imports Qt'
        if package == 'deft_hand_driver':
            assert top != 'torch', 'the driver must start without torch'


def test_every_package_has_a_floor():
    packages = {path.parent.name for path in SOURCE.glob('*/package.xml')}
    assert packages <= set(FLOORS), f'no floor for {packages - set(FLOORS)}'


@pytest.mark.parametrize('path', python_files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_short(path: Path):
    lines = len(path.read_text(encoding='utf-8').splitlines())
    assert lines <= 400, f'{path.name} has {lines} lines: two ideas in one file?'


@pytest.mark.parametrize('path', python_files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_that_is_loaded_may_run_code(path: Path):
    text = path.read_text(encoding='utf-8')
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, 'module', '') or '']
            assert not {'pickle', 'dill', 'cloudpickle', 'shelve', 'marshal'} & set(names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            keywords = {k.arg: k.value for k in node.keywords}
            call = ast.unparse(node.func)
            if call == 'torch.load':
                assert ast.unparse(keywords['weights_only']) == 'True'
            if call in ('np.load', 'numpy.load'):
                assert 'allow_pickle' not in keywords
            assert call not in ('yaml.load', 'yaml.unsafe_load', 'yaml.full_load')
