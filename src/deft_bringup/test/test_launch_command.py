# SPDX-License-Identifier: Apache-2.0
"""`deft` from the outside: exit codes, sentences and what the nodes are given."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deft_bringup import __version__
from deft_bringup.command_line import build_parser, main
from deft_bringup.commands import demo
from deft_bringup.commands.demo import fresh_run_folder, summary_lines
from deft_bringup.commands.launch import find_launch_file, node_environment
from deft_core.errors import ConfigurationError

REPOSITORY = Path(__file__).parents[3]
SOURCES = [str(REPOSITORY / 'src' / name) for name in ('deft_bringup', 'deft_core', 'deft_cem')]
Write = Callable[..., Path]
Program = Callable[..., str]
Answer = Callable[..., subprocess.CompletedProcess[str]]


def deft(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*SOURCES, os.environ.get('PYTHONPATH', '')])
    return subprocess.run(
        [sys.executable, '-m', 'deft_bringup', *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'PYTHONPATH': path, 'DEFT_LAUNCH': 'own', **environment},
        check=False,
    )


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """`deft` in this process, for what needs none of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


def one_sentence(result: subprocess.CompletedProcess[str]) -> str:
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_version_and_help() -> None:
    assert deft('--version').stdout == f'deft {__version__}\n'
    words = deft('--help').stdout
    assert all(name in words for name in ('demo', 'launch', 'train', 'report', 'tasks'))


def test_help_imports_nothing_heavy() -> None:
    script = (
        'import sys\n'
        'from deft_bringup.command_line import build_parser, main\n'
        'build_parser(None).format_help()\n'
        'build_parser("launch").format_help()\n'
        'print(sorted({"torch", "numpy", "rclpy", "mujoco"} & set(sys.modules)))\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(SOURCES)},
    )
    assert result.stdout == '[]\n'


@pytest.mark.parametrize('name', ['demo', 'launch', 'train', 'report', 'tasks'])
def test_every_command_explains_itself(answer: Answer, name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser(name).parse_args([name, '--help'])
    assert ended.value.code == 0


def test_command_is_required(answer: Answer) -> None:
    assert answer().returncode == 2
    assert answer('lunch').returncode == 2


def test_nodes_get_their_environment(write: Write, program: Program) -> None:
    file = write(program('a', 'env'))
    result = deft('launch', str(file), ROS_PYTHON_CHECK_FIELDS='0')
    assert result.returncode == 0, result.stderr
    assert '[a-1] ROS_PYTHON_CHECK_FIELDS=1' in result.stdout
    assert '[a-1] PYTHONUNBUFFERED=1' in result.stdout


@pytest.mark.parametrize(
    ('given', 'expected'), [({}, 'LOCALHOST'), ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'}, 'OFF')]
)
def test_discovery_stays_local_unless_set(given: dict[str, str], expected: str) -> None:
    assert node_environment(given)['ROS_AUTOMATIC_DISCOVERY_RANGE'] == expected


def test_failing_node_gives_code_and_last_sentence(write: Write, program: Program) -> None:
    body = program('false', 'exit 1', 'on_exit="shutdown"') + program('long', 'exec sleep 1000')
    file = write(body)
    result = deft('launch', str(file))
    assert result.returncode == 1
    assert one_sentence(result) == 'deft launch: false-1 failed: exit code 1.'


def test_show_arguments_starts_nothing(write: Write, program: Program, tmp_path: Path) -> None:
    file = write('<arg name="a"/>' + program('touch', f'touch {tmp_path}/started'))
    for option in ('-s', '--show-args', '--show-arguments'):
        result = deft('launch', str(file), option)
        assert result.returncode == 0
        assert "    'a':" in result.stdout
    assert not (tmp_path / 'started').exists()


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['b:=1'], "Unknown launch argument 'b'"),
        (['a=1'], 'Malformed launch argument'),
        ([], "launch argument 'a' is required"),
        (['a:=0'], 'starts nothing with these arguments'),
        (['a:=perhaps'], 'a condition must be true, 1, false or 0'),
    ],
)
def test_wrong_arguments(write: Write, program: Program, words: list[str], sentence: str) -> None:
    file = write('<arg name="a"/>' + program('true', '', 'if="$(var a)"'))
    result = deft('launch', str(file), *words)
    assert result.returncode == 2
    assert sentence in one_sentence(result)


def test_unknown_file_names_the_nearest(answer: Answer) -> None:
    result = answer('launch', 'fine_tun.launch.xml')
    assert result.returncode == 2
    assert "did you mean 'fine_tune.launch.xml'" in one_sentence(result)


def test_path_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match='does not exist'):
        find_launch_file('/no/such/file.launch.xml')


def test_name_is_found_in_the_launch_folder() -> None:
    assert find_launch_file('fine_tune.launch.xml').name == 'fine_tune.launch.xml'
    assert find_launch_file('fine_tune') == find_launch_file('fine_tune.launch.xml')


def test_wrong_choice_of_the_launcher(write: Write, program: Program) -> None:
    result = deft('launch', str(write(program('true', ''))), DEFT_LAUNCH='mine')
    assert result.returncode == 2
    assert "DEFT_LAUNCH can only be 'own', got 'mine'" in one_sentence(result)


@pytest.fixture
def ros2(tmp_path: Path) -> str:
    """A PATH with a `ros2` that says what it was given."""
    folder = tmp_path / 'ros2_bin'
    folder.mkdir()
    program = folder / 'ros2'
    program.write_text('#!/bin/sh\necho "$ROS_PYTHON_CHECK_FIELDS $@"\nexit 7\n')
    program.chmod(0o755)
    return f'{folder}{os.pathsep}{os.environ["PATH"]}'


def test_ros2_takes_over_where_it_is_installed(write: Write, ros2: str) -> None:
    file = write('<arg name="a" default="0"/>')
    result = deft('launch', str(file), 'a:=1', PATH=ros2, DEFT_LAUNCH='')
    assert (result.returncode, result.stdout) == (7, f'1 launch {file} a:=1\n')
    result = deft('launch', '-s', str(file), PATH=ros2, DEFT_LAUNCH='')
    assert result.stdout == f'1 launch --show-args {file}\n'


def test_unknown_argument_is_refused_before_ros2(write: Write, ros2: str) -> None:
    result = deft('launch', str(write('')), 'a:=1', PATH=ros2, DEFT_LAUNCH='')
    assert result.returncode == 2
    assert "Unknown launch argument 'a'" in one_sentence(result)


def test_own_launcher_can_be_forced(write: Write, program: Program, ros2: str) -> None:
    result = deft('launch', str(write(program('true', ''))), PATH=ros2)
    assert result.returncode == 0, result.stderr


def test_reader_that_goes_away(write: Write, program: Program) -> None:
    file = write(program('yes', 'exec yes'))
    path = os.pathsep.join([*SOURCES, os.environ.get('PYTHONPATH', '')])
    process = subprocess.Popen(
        [sys.executable, '-m', 'deft_bringup', 'launch', str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': path, 'DEFT_LAUNCH': 'own'},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == 'deft launch: The launch was stopped by SIGPIPE.\n'
    process.stderr.close()


def test_tasks(answer: Answer) -> None:
    result = answer('tasks')
    assert result.returncode == 0, result.stderr
    assert re.search(r'^pick_cup +pick up the cup$', result.stdout, re.MULTILINE)


def test_demo_refuses_an_unknown_task_with_the_known_ones(answer: Answer, tmp_path: Path) -> None:
    run = tmp_path / 'run'
    result = answer('demo', '--task', 'pick_cap', '--run', str(run))
    assert result.returncode == 2
    assert one_sentence(result).startswith("deft: Unknown task 'pick_cap': it is not in ")
    assert 'pick_cup' in result.stderr
    assert not run.exists()


def test_demo_refuses_an_occupied_folder(answer: Answer, tmp_path: Path) -> None:
    (tmp_path / 'bag').touch()
    result = answer('demo', '--run', str(tmp_path))
    assert result.returncode == 2
    assert f'The run folder {tmp_path} is occupied' in one_sentence(result)


def test_demo_takes_a_new_or_empty_folder(tmp_path: Path) -> None:
    assert fresh_run_folder(tmp_path) == tmp_path
    assert fresh_run_folder(tmp_path / 'new') == tmp_path / 'new'
    assert fresh_run_folder(None).parent.name == 'runs'


@pytest.mark.parametrize('number', ['-1', 'many', '1.5'])
def test_demo_refuses_wrong_numbers(answer: Answer, number: str) -> None:
    result = answer('demo', '--episodes', number)
    assert result.returncode == 2
    assert '--episodes' in result.stderr


def test_numbers_of_the_demo(tmp_path: Path) -> None:
    summary = {'success_evaluation': 0.7, 'success_prior': None, 'mean_reward_last10': 0.5}
    (tmp_path / 'summary.json').write_text(json.dumps(summary))
    pairs = [line.rsplit('  ', 1) for line in summary_lines(tmp_path)]
    values = {label.strip(): value for label, value in pairs}
    assert values['success of the policy'] == '0.70'
    assert values['success of the prior alone'] == '-'
    assert values['mean reward, last ten'] == '0.50'


@pytest.mark.parametrize(('complete', 'code'), [(True, 0), (False, 137)])
def test_a_complete_session_is_reported_though_a_node_had_to_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool, code: int
) -> None:
    def launch(_: Path, arguments: list[str]) -> int:
        folder = Path(next(a for a in arguments if a.startswith('run:=')).removeprefix('run:='))
        folder.mkdir(exist_ok=True)
        if complete:
            (folder / 'summary.json').write_text('{}')
        return 137

    reported: list[Path] = []
    monkeypatch.setattr('deft_bringup.commands.demo.launch', launch)
    monkeypatch.setattr('deft_report.page.build_report', reported.append)
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    assert demo.main(parser.parse_args(['--run', str(tmp_path / 'run')])) == code
    assert reported == ([tmp_path / 'run'] if complete else [])


def test_run_without_summary(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='Cannot read'):
        summary_lines(tmp_path)
