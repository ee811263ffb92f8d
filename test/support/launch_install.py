# SPDX-License-Identifier: Apache-2.0
"""An install folder for tests of launch files, without a build."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
# Programs of packages that are not ours; the parameters of these are not checked.
FOREIGN = {
    'realsense2_camera': ['realsense2_camera_node'],
    'xarm_api': ['xarm_driver_node'],
}


def entry_points(package: Path) -> dict[str, str]:
    """Programs of a Python package: name to `module:function`, read from its setup.py."""
    tree = ast.parse((package / 'setup.py').read_text())
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            text = eval(compile(ast.Expression(node), 'setup.py', 'eval'), {}, constants)
            if isinstance(text, str) and text.endswith(':main') and ' = ' in text:
                name, target = text.split(' = ')
                found[name] = target
    return found


PROGRAMS = {
    setup.parent.name: entry_points(setup.parent)
    for setup in sorted((REPOSITORY / 'src').glob('deft_*/setup.py'))
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An install folder as colcon makes it from the sources, with empty programs."""
    root = tmp_path / 'install'
    index = root / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    programs = {**{name: list(found) for name, found in PROGRAMS.items()}, **FOREIGN}
    for package, names in {**programs, 'deft_bringup': []}.items():
        (index / package).touch()
        (root / 'share' / package).mkdir()
        folder = root / 'lib' / package
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch(mode=0o755)
    # As in the package itself: what a driver offers beside what our file switches on.
    (root / 'share' / 'xarm_api' / 'config').mkdir()
    services = {'services': {'set_state': True, 'set_tcp_offset': False}}
    (root / 'share' / 'xarm_api' / 'config' / 'xarm_params.yaml').write_text(
        yaml.safe_dump({'ufactory_driver': {'ros__parameters': services}})
    )
    for name in ('launch', 'config'):
        (root / 'share' / 'deft_bringup' / name).symlink_to(REPOSITORY / name)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(root))
    return root
