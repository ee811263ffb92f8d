# SPDX-License-Identifier: Apache-2.0
"""`./deft launch` with real nodes of the built workspace."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
BUILT = (REPOSITORY / 'install' / 'deft_bringup').is_dir()
needs_build = pytest.mark.skipif(not BUILT, reason='the workspace is not built: make setup')
PATIENCE_S = 60.0
STARTED = re.compile(r'\[launch\] (\S+): process started with pid (\d+)')

# Two light nodes: they need no picture and no physics.
LIGHT = """<launch>
  <node pkg="deft_perception" exec="calibration_publisher" name="calibration_publisher"
        namespace="/" output="screen" on_exit="shutdown">
    <param name="use_sim_time" value="true" type="bool"/>
  </node>
  <node pkg="deft_hand_driver" exec="hand_driver_node" name="hand_driver" namespace="/"
        output="screen" on_exit="shutdown">
    <param name="port" value="/dev/no_such_port" type="str"/>{}
  </node>
</launch>
"""


def environment() -> dict[str, str]:
    return {**os.environ, 'DEFT_LAUNCH': 'own'}


def deft(*words: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPOSITORY / 'deft'), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(parameters: str = '') -> Path:
        path = tmp_path / 'light.launch.xml'
        path.write_text(LIGHT.format(parameters))
        return path

    return write_file


class Running:
    """A launch that goes on while the test looks at it."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [str(REPOSITORY / 'deft'), 'launch', str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.ids: dict[str, int] = {}

    def wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := STARTED.search(line):
                self.ids[match[1]] = int(match[2])
            if text in line:
                return
        pytest.fail(f'the launch ended without saying {text!r}')

    def end(self) -> tuple[int, str]:
        """Exit code and last sentence."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors.splitlines()[-1]


@pytest.fixture
def start() -> Iterator[Callable[[Path], Running]]:
    launches: list[Running] = []

    def run(file: Path) -> Running:
        launches.append(Running(file))
        return launches[-1]

    yield run
    for launch in launches:
        launch.process.terminate()
        launch.process.communicate(timeout=PATIENCE_S)


def gone(pids: list[int]) -> bool:
    return not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    )


@needs_build
def test_interrupt_ends_every_node(
    write: Callable[[str], Path], start: Callable[[Path], Running]
) -> None:
    launch = start(write(''))
    launch.wait_for('camera calibration')
    launch.process.send_signal(signal.SIGINT)
    assert launch.end() == (130, 'deft launch: The launch was stopped by SIGINT.')
    assert len(launch.ids) == 2
    assert gone(list(launch.ids.values()))


@needs_build
def test_a_second_launch_in_a_domain_is_refused(
    write: Callable[[str], Path], start: Callable[[Path], Running]
) -> None:
    launch = start(write(''))
    launch.wait_for('camera calibration')
    second = deft('launch', str(write('')))
    assert second.returncode == 2
    assert 'runs in ROS domain' in second.stderr
    assert 'camera calibration' not in second.stdout
    launch.process.send_signal(signal.SIGINT)
    assert launch.end()[0] == 130  # and nothing happened to it before


@needs_build
def test_node_that_dies_in_the_middle_ends_all(
    write: Callable[[str], Path], start: Callable[[Path], Running]
) -> None:
    launch = start(write(''))
    launch.wait_for('camera calibration')
    os.kill(launch.ids['hand_driver_node-2'], signal.SIGKILL)
    code, sentence = launch.end()
    assert code == 137
    assert sentence == (
        'deft launch: hand_driver_node-2 failed: killed by SIGKILL (exit code 137).'
    )
    assert gone(list(launch.ids.values()))


@needs_build
def test_misspelt_parameter_ends_the_launch(write: Callable[[str], Path]) -> None:
    result = deft('launch', str(write('<param name="raet" value="50.0"/>')))
    assert result.returncode == 2
    assert "unknown parameter 'raet'; did you mean 'rate'" in result.stdout
    last = result.stderr.splitlines()[-1]
    assert 'hand_driver_node-2 failed: exit code 2.' in last
    assert last.endswith("did you mean 'rate'?")  # the cause is the last thing one reads


@needs_build
def test_argument_beats_the_parameter_file() -> None:
    result = deft('launch', 'simulation.launch.xml', 'real_time_factor:=0.001')
    assert result.returncode == 2
    assert re.search(r'\[simulation_node-1\] .*real_time_factor must be 0.01', result.stdout)
    last = result.stderr.splitlines()[-1]
    assert 'simulation_node-1 failed: exit code 2.' in last
    assert 'real_time_factor must be' in last


@needs_build
def test_works_from_any_folder_and_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / 'deft'
    link.symlink_to(REPOSITORY / 'deft')
    result = subprocess.run(
        [str(link), 'tasks'], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert 'pick_cup' in result.stdout


def test_without_environment_it_says_what_to_do(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / 'deft', tmp_path)
    result = subprocess.run(
        [str(tmp_path / 'deft'), 'demo'], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stdout == ''
    assert result.stderr.count('\n') == 1
    assert "run 'make setup'" in result.stderr
