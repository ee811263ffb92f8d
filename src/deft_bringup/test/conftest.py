# SPDX-License-Identifier: Apache-2.0
"""What the tests of launching share."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launch_install import installed  # noqa: F401

from deft_bringup.launching.interpreter import Interpreter, ProcessPlan

PATIENCE_S = 30.0
# Long enough that no test that should end by SIGINT can end by SIGTERM.
PATIENT = {'sigterm_s': 60.0, 'sigkill_s': 61.0}
# Beginning of every small node: `{0}` is the file that then holds its process id.
READY = """
import os, signal, sys, time
with open({0!r} + '.new', 'w') as file:
    file.write(str(os.getpid()))
os.replace({0!r} + '.new', {0!r})
"""


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
def program(prefix: Path) -> Callable[..., str]:
    """Make a shell script an executable of `robot`; gives the tag of a node that runs it."""

    def install(name: str, script: str, attributes: str = '') -> str:
        path = prefix / 'lib' / 'robot' / name
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)
        return (
            f'<node pkg="robot" exec="{name}" name="{name}" namespace="/" output="screen" '
            f'{attributes}/>'
        )

    return install


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


class Launch:
    """A supervisor in a process of its own."""

    def __init__(self, plans: list[dict[str, Any]], limits: dict[str, float]) -> None:
        source = Path(__file__).parents[1]
        path = [str(source), str(source.parent / 'deft_core'), os.environ.get('PYTHONPATH', '')]
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name('supervise.py')),
                json.dumps(plans),
                json.dumps(limits),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(path)},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip('\n'))
        self._queue.put(None)

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until `count` lines hold a text."""
        deadline = time.monotonic() + PATIENCE_S
        while sum(text in line for line in self.lines) < count:
            try:
                line = self._queue.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                pytest.fail(f'no {text!r} in time, but {self.lines}')
            assert line is not None, f'no {text!r} in {self.lines}'
            self.lines.append(line)

    def wait(self) -> int:
        """Until it ends."""
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        while (line := self._queue.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Launch]]:
    launches: list[Launch] = []

    def run(*plans: dict[str, Any], limits: dict[str, float] = PATIENT) -> Launch:
        launches.append(Launch(list(plans), limits))
        return launches[-1]

    yield run
    for launch in launches:
        launch.close()


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A plan whose process writes its id to `<label>.pid`."""

    def plan(label: str, body: str, **fields: Any) -> dict[str, Any]:
        script = READY.format(str(tmp_path / f'{label}.pid')) + body
        return {'label': label, 'command': [sys.executable, '-c', script], **fields}

    return plan
