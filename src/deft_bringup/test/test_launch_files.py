# SPDX-License-Identifier: Apache-2.0
"""Our launch files against the packages they start: programs, parameters, topics, defaults."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_install import FOREIGN, PROGRAMS, REPOSITORY

from deft_bringup.commands.demo import add_arguments
from deft_bringup.launching.document import Element, read_document
from deft_bringup.launching.interpreter import (
    Interpreter,
    ProcessPlan,
    declared_arguments,
    parse_assignments,
)
from deft_core.configuration import build

LAUNCH_FILES = sorted((REPOSITORY / 'launch').glob('*.launch.xml'))
ALWAYS_DECLARED = {'use_sim_time'}
COMBINATIONS: list[dict[str, str]] = [
    {},
    {'operator': 'person', 'prior': 'heuristic'},
    {'robot': 'hardware'},
    {'robot': 'hardware', 'operator': 'person'},
    {'robot': 'hardware', 'arm_interface': 'ros2_control'},
    {'arm_interface': 'ros2_control'},
    {'reward': 'visual'},
    {'reward': 'visual', 'operator': 'person', 'reward_encoder': 'resnet18'},
]


def plans_of(tmp_path: Path, name: str, arguments: dict[str, str]) -> list[ProcessPlan]:
    scratch = tmp_path / 'scratch'
    scratch.mkdir(exist_ok=True)
    file = tmp_path / 'install' / 'share' / 'deft_bringup' / 'launch' / name
    return list(Interpreter(os.environ, scratch).run(file, arguments))


def remapped(plan: ProcessPlan, rule: str) -> str:
    """Value of a rule such as `__node`, empty where there is none."""
    values = [word.removeprefix(f'{rule}:=') for word in plan.command if word.startswith(rule)]
    return values[0] if values else ''


def parameters(plan: ProcessPlan) -> dict[str, Any]:
    """Parameters in the order in which the node applies them."""
    values: dict[str, Any] = {}
    name = remapped(plan, '__node')
    full_name = remapped(plan, '__ns').rstrip('/') + '/' + name
    command = plan.command
    for file in [command[i + 1] for i, word in enumerate(command) if word == '--params-file']:
        for rule, content in yaml.safe_load(Path(file).read_text()).items():
            assert rule in (name, full_name, '/**'), f'{file} speaks of another node: {rule}'
            # Where a file used the wildcard, only the order of full names would be kept.
            assert rule != '/**', f'{file}: use the name {name!r}, so that later values win'
            assert set(content) == {'ros__parameters'}
            values.update(content['ros__parameters'])
    return values


def parameter_class(package: str, program: str) -> Any:
    """The dataclass that a node passes to `declare_parameters`."""
    pytest.importorskip('rclpy', reason='the nodes need ROS')
    pytest.importorskip('deft_msgs.msg', reason='the messages are not built')
    module = importlib.import_module(PROGRAMS[package][program].split(':')[0])
    tree = ast.parse(Path(str(module.__file__)).read_text())
    names = [
        call.args[1].id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == 'declare_parameters'
        and isinstance(call.args[1], ast.Name)
    ]
    assert len(names) == 1, f'{module.__name__} declares its parameters {len(names)} times'
    return getattr(module, names[0])


@pytest.mark.parametrize('arguments', COMBINATIONS)
def test_every_node_exists_is_named_required_and_knows_its_parameters(
    installed: Path, tmp_path: Path, arguments: dict[str, str]
) -> None:
    plans = plans_of(tmp_path, 'fine_tune.launch.xml', arguments)
    names = {remapped(plan, '__node') for plan in plans}
    always = {'calibration_publisher', 'hand_driver', 'arm', 'segmentation', 'affordance'}
    assert always | {'recorder', 'session'} <= names
    simulated = arguments.get('robot', 'sim') == 'sim'
    assert ('simulation' in names) == simulated
    assert ('camera' in names) == (not simulated)
    scripted = arguments.get('operator', 'scripted') == 'scripted'
    assert ('scripted_operator' in names) == (simulated and scripted)
    assert len({remapped(plan, '__ns') + remapped(plan, '__node') for plan in plans}) == len(plans)
    for plan in plans:
        # Without a namespace the values of arguments would lose against those of files.
        assert remapped(plan, '__node'), plan.label
        assert remapped(plan, '__ns'), plan.label
        # The streams of other topics are worth less than the session that they are recorded of.
        assert plan.required == (remapped(plan, '__node') != 'recorder'), plan.label
        assert_knows_its_parameters(plan)


def assert_knows_its_parameters(plan: ProcessPlan) -> None:
    """Nothing unknown, of a wrong type or out of range."""
    if not plan.foreign:
        program = Path(plan.command[0])
        values = parameters(plan)
        own = {name: value for name, value in values.items() if name not in ALWAYS_DECLARED}
        build(parameter_class(program.parent.name, program.name), own, plan.label)


def test_the_drivers_of_others_are_known(installed: Path, tmp_path: Path) -> None:
    arguments = {'robot': 'hardware', 'robot_ip': '192.168.1.203'}
    plans = plans_of(tmp_path, 'fine_tune.launch.xml', arguments)
    foreign = {remapped(plan, '__node'): plan for plan in plans if plan.foreign}
    assert set(foreign) == {'camera', 'ufactory_driver'}
    for plan in foreign.values():
        # Ours claim their names themselves.
        assert plan.command[:3] == ('python3', '-m', 'deft_core.nodes.exclusive'), plan.label
        assert Path(plan.command[3]).name in FOREIGN[Path(plan.command[3]).parent.name]


def test_one_clock(installed: Path, tmp_path: Path) -> None:
    for robot, expected in (('sim', True), ('hardware', False)):
        for plan in plans_of(tmp_path, 'fine_tune.launch.xml', {'robot': robot}):
            name = remapped(plan, '__node')
            if name not in ('simulation', 'camera'):  # one gives the clock, one has no other
                assert parameters(plan)['use_sim_time'] is expected, name


def test_arguments_reach_their_nodes(installed: Path, tmp_path: Path) -> None:
    given = {
        'task': 'pick_cup',
        'method': 'real_world_only',
        'run': '/tmp/some_run',
        'seed': '7',
        'episodes': '5',
        'warm_up': '2',
        'evaluation_trials': '3',
        'prior': 'heuristic',
        'real_time_factor': '1',
    }
    plans = plans_of(tmp_path, 'fine_tune.launch.xml', given)
    values = {remapped(plan, '__node'): parameters(plan) for plan in plans}
    assert values['simulation']['real_time_factor'] == 1.0
    assert values['session']['run'] == '/tmp/some_run'
    assert values['session']['method'] == 'real_world_only'
    everything = [value for node in values.values() for value in node.values()]
    for expected in (7, 5, 2, 3, 'heuristic', 'pick_cup'):
        assert expected in everything


def test_a_visual_reward_stands_between_the_scripted_operator_and_the_session(
    installed: Path, tmp_path: Path
) -> None:
    def judges(**given: str) -> bool:
        plans = plans_of(tmp_path, 'fine_tune.launch.xml', {'reward': 'visual', **given})
        (node,) = [plan for plan in plans if remapped(plan, '__node') == 'visual_reward']
        detours = [
            remapped(plan, '__node')
            for plan in plans
            if '/session/submit_reward:=/visual_reward/submit_reward' in plan.command
        ]
        judged = bool(parameters(node)['operator_judges'])
        assert detours == (['scripted_operator'] if judged else [])
        return judged

    assert judges()
    assert not judges(operator='person')
    assert not judges(robot='hardware')


DRIVERS = 'arm hand_driver'
ROBOT = f'{DRIVERS} camera emergency_stop_station'
SESSION = 'calibration_publisher recorder segmentation affordance session'
ADDRESS = 'robot_ip:=192.168.1.203'
OTHER = 'arm_interface:=ros2_control'


@pytest.mark.parametrize(
    ('name', 'given', 'started'),
    [  # observed with `ros2 launch` of Jazzy
        ('simulation', '', f'{DRIVERS} simulation calibration_publisher'),
        ('hardware', '', f'{ROBOT} calibration_publisher'),
        ('hardware', ADDRESS, f'{ROBOT} calibration_publisher ufactory_driver'),
        ('hardware', f'{ADDRESS} {OTHER}', f'{ROBOT} calibration_publisher'),
        (
            'hardware',
            f'{ADDRESS} {OTHER} joint_states:=/xarm/joint_states publish_calibration:=0',
            f'{ROBOT} ufactory_driver',
        ),
        ('hardware', 'joint_states:=/xarm/joint_states', f'{ROBOT} calibration_publisher'),
        ('hardware', 'emergency_stop_station:=false publish_calibration:=0', f'{DRIVERS} camera'),
        ('fine_tune', '', f'{DRIVERS} {SESSION} simulation scripted_operator'),
        ('fine_tune', 'operator:=person', f'{DRIVERS} {SESSION} simulation'),
        ('fine_tune', 'robot:=hardware', f'{ROBOT} {SESSION}'),
        (
            'fine_tune',
            f'robot:=hardware reward:=visual {ADDRESS}',
            f'{ROBOT} {SESSION} ufactory_driver visual_reward',
        ),
        ('calibrate', '', f'{DRIVERS} simulation camera_calibration'),
        ('calibrate', 'robot:=hardware', f'{ROBOT} camera_calibration'),
        (
            'calibrate',
            f'robot:=hardware {ADDRESS}',
            f'{ROBOT} camera_calibration ufactory_driver',
        ),
        ('calibrate', f'robot:=hardware motion:=drive {ADDRESS}', f'{ROBOT} camera_calibration'),
        ('offline_training', 'output:=policy', 'replay_trainer'),
        ('offline_training', 'output:=policy bag:=[]', 'replay_trainer bag_player'),
        ('offline_training', 'output:=policy bag:=0', 'replay_trainer bag_player'),
    ],
)
def test_started_nodes(
    installed: Path, tmp_path: Path, name: str, given: str, started: str
) -> None:
    plans = plans_of(tmp_path, f'{name}.launch.xml', parse_assignments(given.split()))
    assert sorted(remapped(plan, '__node') for plan in plans) == sorted(started.split())


@pytest.mark.parametrize('robot', ['sim', 'hardware'])
def test_calibration_starts_without_a_calibration(
    installed: Path, tmp_path: Path, robot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DEFT_HAND_PORT', '/dev/ttyUSB0')
    plans = plans_of(tmp_path, 'calibrate.launch.xml', {'robot': robot, 'output': 'mine'})
    names = {remapped(plan, '__node') for plan in plans}
    assert 'camera_calibration' in names
    assert 'calibration_publisher' not in names
    assert ('simulation' in names) == (robot == 'sim')
    for plan in plans:
        assert_knows_its_parameters(plan)


def test_a_session_on_the_robot_refuses_old_and_foreign_calibrations(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DEFT_HAND_PORT', '/dev/ttyUSB0')
    given = {'robot': 'hardware', 'calibration': 'mine', 'camera_serial': '_819312'}
    plans = plans_of(tmp_path, 'fine_tune.launch.xml', given)
    values = {remapped(plan, '__node'): parameters(plan) for plan in plans}
    publisher = values['calibration_publisher']
    assert (publisher['calibration'], publisher['camera_serial']) == ('mine', '_819312')
    assert publisher['maximum_age_days'] == 30
    assert values['camera']['serial_no'] == '_819312'
    simulated = plans_of(tmp_path, 'fine_tune.launch.xml', {'calibration': 'mine'})
    values = {remapped(plan, '__node'): parameters(plan) for plan in simulated}
    assert values['calibration_publisher']['calibration'] == 'mine'
    publisher = values['calibration_publisher']
    assert (publisher['maximum_age_days'], publisher['camera_serial']) == (0, 'simulated')


def test_the_driver_of_the_arm_is_started_where_its_address_is_known(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DEFT_HAND_PORT', '/dev/ttyUSB0')

    def driver(**given: str) -> dict[str, Any]:
        plans = plans_of(tmp_path, 'fine_tune.launch.xml', {'robot': 'hardware', **given})
        named = {remapped(plan, '__node'): plan for plan in plans}
        assert parameters(named['arm'])['arm_interface'] == given.get('arm_interface', 'xarm_api')
        return parameters(named['ufactory_driver']) if 'ufactory_driver' in named else {}

    assert driver() == {}
    assert driver(robot_ip='192.168.1.203', arm_interface='ros2_control') == {}
    values = driver(robot_ip='192.168.1.203')
    assert values['robot_ip'] == '192.168.1.203'
    # Errors and states as early as this driver can tell them, under the names that are expected.
    assert (values['report_type'], values['dof'], values['hw_ns']) == ('dev', 6, 'xarm')
    # What is off in the driver's own list is on.
    assert values['services']['set_tcp_offset'] is True


def test_a_calibration_drives_the_arm_by_joint_trajectories(
    installed: Path, tmp_path: Path
) -> None:
    plans = plans_of(tmp_path, 'calibrate.launch.xml', {'output': 'mine'})
    values = {remapped(plan, '__node'): parameters(plan) for plan in plans}
    for name in ('arm', 'simulation'):
        assert values[name]['arm_interface'] == 'ros2_control'


def test_a_calibration_by_hand_only_looks_where_the_arm_is(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DEFT_HAND_PORT', '/dev/ttyUSB0')
    given = {'robot': 'hardware', 'output': 'mine', 'robot_ip': '192.168.1.203'}

    def started(motion: str) -> tuple[set[str], str]:
        plans = plans_of(tmp_path, 'calibrate.launch.xml', {**given, 'motion': motion})
        named = {remapped(plan, '__node'): plan for plan in plans}
        assert parameters(named['arm'])['arm_interface'] == 'ros2_control'
        return set(named), remapped(named['arm'], '/joint_states')

    names, topic = started('operator')
    assert 'ufactory_driver' in names
    assert topic == '/xarm/joint_states'
    names, topic = started('drive')
    assert 'ufactory_driver' not in names
    assert topic == '/joint_states'


def test_offline_training_plays_a_bag_only_when_one_is_named(
    installed: Path, tmp_path: Path
) -> None:
    alone = plans_of(tmp_path, 'offline_training.launch.xml', {'output': 'policy'})
    assert [remapped(plan, '__node') for plan in alone] == ['replay_trainer']
    given = {'output': 'policy', 'bag': 'runs/one', 'rate': '5.0', 'seed': '3'}
    both = plans_of(tmp_path, 'offline_training.launch.xml', given)
    values = {remapped(plan, '__node'): parameters(plan) for plan in both}
    assert values['replay_trainer'] == {'output': 'policy', 'settings': '', 'seed': 3}
    assert values['bag_player'] == {'bag': 'runs/one', 'rate': 5.0, 'train': True}
    for plan in both:
        assert plan.required
        assert_knows_its_parameters(plan)


@pytest.mark.parametrize('file', LAUNCH_FILES, ids=lambda file: file.name)
def test_every_argument_is_described(installed: Path, file: Path) -> None:
    for name, element in declared_arguments(file, os.environ).items():
        assert element.attributes.get('description'), name


def test_defaults_are_those_of_the_parameter_files(installed: Path, tmp_path: Path) -> None:
    """Whoever reads config/nodes reads what a launch without arguments uses."""
    compared = 0
    for plan in plans_of(tmp_path, 'fine_tune.launch.xml', {}):
        command = plan.command
        files = [Path(command[i + 1]) for i, w in enumerate(command) if w == '--params-file']
        (configured,) = [file for file in files if file.parent.name == 'nodes']
        (content,) = yaml.safe_load(configured.read_text()).values()
        values = parameters(plan)
        for name, value in content['ros__parameters'].items():
            assert values[name] == value, f'{configured.name}: {name}'
            compared += 1
    assert compared > 20


def test_parameter_files_are_all_used(installed: Path, tmp_path: Path) -> None:
    used = {
        Path(word).name
        for name, combinations in (
            ('fine_tune.launch.xml', COMBINATIONS),
            ('calibrate.launch.xml', [{}]),
        )
        for arguments in combinations
        for plan in plans_of(tmp_path, name, arguments)
        for word in plan.command
        if '/config/nodes/' in word
    }
    assert used == {path.name for path in (REPOSITORY / 'config' / 'nodes').glob('*.yaml')}


def all_elements(element: Element) -> Iterator[Element]:
    for child in element.children:
        yield child
        yield from all_elements(child)


@pytest.mark.parametrize('file', LAUNCH_FILES, ids=lambda file: file.name)
def test_remapped_topics_are_known(file: Path) -> None:
    sources = ' '.join(path.read_text() for path in (REPOSITORY / 'src').glob('*/*/nodes/*.py'))
    for element in all_elements(read_document(file)):
        for text in element.attributes.values() if element.tag == 'remap' else ():
            assert '$' in text or f"'{text}'" in sources, f'{file.name}: no node knows {text}'


def test_demo_knows_arguments_of_the_launch_file() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    declared = declared_arguments(REPOSITORY / 'launch' / 'fine_tune.launch.xml', os.environ)
    assert set(vars(parser.parse_args([]))) <= declared.keys()
