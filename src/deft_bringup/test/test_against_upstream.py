# SPDX-License-Identifier: Apache-2.0
"""Our interpreter against upstream launch, where that is installed: same nodes, same values."""

from __future__ import annotations

import itertools
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from deft_bringup.launching.interpreter import Interpreter
from deft_core.errors import ConfigurationError

launch = pytest.importorskip('launch', reason='needs upstream launch')
pytest.importorskip('launch_xml', reason='needs upstream launch')
launch_ros_actions = pytest.importorskip('launch_ros.actions', reason='needs upstream launch')

PREFIXES = os.environ.get('AMENT_PREFIX_PATH', '')


def product(**values: tuple[str | None, ...]) -> list[dict[str, str]]:
    """All combinations; None leaves an argument out."""
    return [
        {name: value for name, value in zip(values, row, strict=True) if value is not None}
        for row in itertools.product(*values.values())
    ]


ROBOT = (None, 'hardware')
ADDRESS = (None, '192.168.1.203')
SETS = {
    'hardware': [
        *product(
            robot_ip=ADDRESS,
            arm_interface=(None, 'ros2_control'),
            joint_states=(None, '/xarm/joint_states'),
        ),
        *product(emergency_stop_station=('false',), publish_calibration=('0', ' True ', 'no')),
        *product(camera_serial=('_819312',), hand_port=('/dev/a b', '[]')),
    ],
    'fine_tune': [
        *product(
            robot=ROBOT,
            robot_ip=ADDRESS,
            operator=(None, 'person'),
            reward=(None, 'visual'),
        ),
        *product(run=("it's", 'a:=b', '$(var seed)', 'x # y'), seed=(' 3',)),
        *product(evaluation_object_set=('both', "''")),
        *product(seed=('x', '1e1')),
    ],
    'calibrate': product(robot=ROBOT, motion=(None, 'drive'), robot_ip=ADDRESS),
    'offline_training': [
        {},
        *product(output=('policy',), rate=(None, '5')),
        *product(output=('policy',), bag=('run', '[]', '0', 'false', 'a b')),
    ],
    'simulation': product(
        arm_interface=(None, 'ros2_control'), hand_seed=(None, '3'), real_time_factor=(None, '1e0')
    ),
    'drivers': product(use_sim_time=(None, '1', 'yes', 'x'), joint_states=(None, '/elsewhere')),
}


def upstream_commands(file: Path, arguments: dict[str, str]) -> list[tuple[list[str], bool]]:
    """Command and `required` of every node, without starting any."""
    context = launch.LaunchContext(noninteractive=True)
    found = []

    def execute(node: Any, context: Any) -> None:
        node._perform_substitutions(context)
        name, namespace = node.node_name.rpartition('/')[2], node.expanded_node_namespace
        rules = {'name': f'__node:={name}', 'ns': f'__ns:={namespace}'}
        context.extend_locals({'ros_specific_arguments': rules})
        texts = [launch.utilities.perform_substitutions(context, word) for word in node.cmd]
        prefix = node._ExecuteLocal__process_description.prefix
        prefix = shlex.split(launch.utilities.perform_substitutions(context, prefix))
        found.append(([*prefix, *texts], node._ExecuteLocal__on_exit is not None))

    def visit(entity: Any) -> None:
        if isinstance(entity, launch_ros_actions.Node):
            if entity.condition is None or entity.condition.evaluate(context):
                execute(entity, context)
            return
        for child in entity.visit(context) or []:
            visit(child)

    source = launch.launch_description_sources.AnyLaunchDescriptionSource(str(file))
    visit(
        launch.actions.IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))
    )
    return found


def described(command: list[str]) -> dict[str, Any]:
    """What a command says, independent of the order of names and of temporary files."""
    options = list(itertools.pairwise(command))
    rules = [value for option, value in options if option == '-r']
    return {
        'program': command[: command.index('--ros-args')],
        'node': sorted(rule for rule in rules if rule.startswith('__')),
        'remaps': [rule for rule in rules if not rule.startswith('__')],
        'parameters': [
            repr(yaml.safe_load(Path(value).read_text()))
            for option, value in options
            if option == '--params-file'
        ],
    }


@pytest.mark.parametrize(
    ('name', 'arguments'), [(name, given) for name, sets in SETS.items() for given in sets]
)
def test_same_nodes_and_values(
    installed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    arguments: dict[str, str],
) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{installed}:{PREFIXES}')  # upstream's own files
    file = installed / 'share' / 'deft_bringup' / 'launch' / f'{name}.launch.xml'

    def ours() -> list[tuple[list[str], bool]]:
        plans = Interpreter(os.environ, tmp_path).run(file, arguments)
        return [(list(plan.command), plan.required) for plan in plans]

    try:
        theirs = upstream_commands(file, arguments)
    except (ImportError, OSError):
        raise
    except Exception:  # noqa: BLE001 (upstream refuses with any)
        with pytest.raises(ConfigurationError):
            ours()
    else:
        assert [(described(c), required) for c, required in ours()] == [
            (described(c), required) for c, required in theirs
        ]
