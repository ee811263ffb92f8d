# SPDX-License-Identifier: Apache-2.0
"""What the tests of launching share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deft_bringup.launch_xml.interpreter import Interpreter
from deft_bringup.process import ProcessPlan


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package `robot` with the executables `arm` and `hand`."""
    root = tmp_path / 'install'
    marker = root / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'robot'
    marker.parent.mkdir(parents=True)
    marker.touch()
    (root / 'share' / 'robot').mkdir()
    library = root / 'lib' / 'robot'
    library.mkdir(parents=True)
    for name in ('arm', 'hand'):
        (library / name).write_text('#!/bin/sh\n')
        (library / name).chmod(0o755)
    (library / 'notes.txt').write_text('not executable')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(root))
    return root


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a launch file from the tags inside <launch>."""

    def write_file(body: str, name: str = 'test.launch.xml') -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<launch>\n{body}\n</launch>\n')
        return path

    return write_file


@pytest.fixture
def interpret(
    write: Callable[..., Path], prefix: Path, tmp_path: Path
) -> Callable[..., tuple[ProcessPlan, ...]]:
    """Interpret tags with arguments and an environment."""
    scratch = tmp_path / 'scratch'
    scratch.mkdir()

    def run(
        body: str, environment: dict[str, str] | None = None, **arguments: str
    ) -> tuple[ProcessPlan, ...]:
        return Interpreter(environment or {}, scratch).run(write(body), arguments)

    return run
