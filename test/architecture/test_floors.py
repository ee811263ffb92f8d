# SPDX-License-Identifier: Apache-2.0
"""The floors of the house (docs/architecture.md): who may import what, and how big a room is."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / 'src'
FLOORS = {
    'deft_msgs': 0,
    'deft_core': 1,
    'deft_description': 1,
    'dynamixel_simulator': 1,
    'deft_affordance': 2,
    'deft_arm': 2,
    'deft_bag': 2,
    'deft_hand_driver': 2,
    'deft_perception': 2,
    'deft_cem': 3,
    'deft_report': 4,
    'deft_sim': 5,
    'rqt_deft': 5,
    'deft_bringup': 6,
}
ROS_PREFIXES = ('rclpy', 'rcl_interfaces', 'builtin_interfaces', 'rosidl', 'ament_index')
QT_PREFIXES = ('PyQt', 'PySide', 'python_qt_binding')
RUNS_CODE = {'pickle', 'dill', 'cloudpickle', 'shelve', 'marshal'}
MOST_MODULES = 15


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    """Package, path inside it and syntax tree of every module outside the tests."""
    for package in FLOORS:
        folder = SOURCE / package / package
        for path in sorted(folder.rglob('*.py')):
            yield package, path.relative_to(folder), ast.parse(path.read_text(encoding='utf-8'))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield '.' * node.level + (node.module or '')


def is_ros(top: str) -> bool:
    return top.startswith(ROS_PREFIXES) or top.endswith(('_msgs', '_srvs'))


def wrong_import(package: str, inside: Path, module: str) -> str | None:
    """What is wrong with an import, or None."""
    top = module.partition('.')[0]
    in_nodes = 'nodes' in inside.parts or inside.name in ('ros_client.py', 'plugin.py')
    # The launcher finds executables in the ament index; it runs no node and reads no message.
    finds_packages = top == 'ament_index_python' and package == 'deft_bringup'
    rules = {
        'write the whole name': module.startswith('.'),
        'only lower floors': top in FLOORS
        and top != package
        and FLOORS[top] >= FLOORS[package]
        and module != 'deft_core.errors',  # one tree of errors for everybody
        'only files under nodes/': not in_nodes
        and not finds_packages
        and (is_ros(top) or '.nodes' in module),
        'only port.py talks to the SDK': top == 'dynamixel_sdk' and inside.name != 'port.py',
        'only the widget imports Qt': top.startswith(QT_PREFIXES)
        and not inside.name.endswith('widget.py'),
        'the driver starts without torch': package == 'deft_hand_driver' and top == 'torch',
        'nothing that is loaded may run code': top in RUNS_CODE,
    }
    return next((rule for rule, broken in rules.items() if broken), None)


def test_imports_follow_the_floors():
    offenders = [
        f'{package}/{inside} imports {module}: {rule}'
        for package, inside, tree in modules()
        for module in imports(tree)
        if (rule := wrong_import(package, inside, module)) is not None
    ]
    assert offenders == []


def unsafe(call: ast.Call) -> bool:
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    name = ast.unparse(call.func)
    return (
        (name == 'torch.load' and keywords.get('weights_only') != 'True')
        or (name in ('np.load', 'numpy.load') and 'allow_pickle' in keywords)
        or name in ('yaml.load', 'yaml.unsafe_load', 'yaml.full_load', 'eval', 'exec')
    )


def test_nothing_that_is_loaded_may_run_code():
    offenders = [
        f'{package}/{inside}:{node.lineno}: {ast.unparse(node)}'
        for package, inside, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and unsafe(node)
    ]
    assert offenders == []


def test_rooms_are_small():
    """One idea in a file, and few files in a folder."""
    count = Counter(
        f'{package}/{inside.parent}' for package, inside, _ in modules() if inside.stem[0] != '_'
    )
    offenders = [f'{folder}: {n} modules' for folder, n in count.items() if n > MOST_MODULES]
    for package, inside, _ in modules():
        lines = len((SOURCE / package / package / inside).read_text().splitlines())
        if lines > 700:
            offenders.append(f'{package}/{inside}: {lines} lines, two ideas in one file?')
    assert offenders == []


def test_every_package_has_a_floor():
    packages = {path.parent.name for path in SOURCE.glob('*/package.xml')}
    assert packages <= set(FLOORS), f'no floor for {packages - set(FLOORS)}'
