# SPDX-License-Identifier: Apache-2.0
"""`deft play`: what the player node is given."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from deft_bringup.commands.play import add_arguments, main, player_command
from deft_core.errors import ConfigurationError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed player that writes down its arguments."""
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    (index / 'deft_bag').touch()
    program = tmp_path / 'lib' / 'deft_bag' / 'bag_player'
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nexit 0\n')
    program.chmod(0o755)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    return program


def values(command: list[str]) -> dict[str, object]:
    """Parameters as ROS reads them."""
    assert command[1] == '--ros-args'
    pairs = [word.split(':=', maxsplit=1) for word in command[3::2]]
    return {name: yaml.safe_load(text) for name, text in pairs}


def test_defaults(player: Path) -> None:
    command = player_command(parse('runs/one'))
    assert command[0] == str(player)
    assert values(command) == {'bag': 'runs/one', 'rate': 1.0, 'delay': 1.0, 'train': False}


@pytest.mark.parametrize('name', ['7', 'a b', "it's", 'x: y', 'true', 'Ümläut', '"'])
def test_any_folder_name_stays_a_text(player: Path, name: str) -> None:
    assert values(player_command(parse(name)))['bag'] == name


def test_options_reach_the_node(player: Path) -> None:
    words = ('runs/one', '--rate', '20', '--delay', '0', '--train', '--topics', '/a', '/b')
    assert values(player_command(parse(*words))) == {
        'bag': 'runs/one',
        'rate': 20.0,
        'delay': 0.0,
        'train': True,
        'topics': ['/a', '/b'],
    }


def test_the_command_becomes_the_node(player: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr('os.execve', lambda *given: became.append(given))
    main(parse('runs/one'))
    ((program, command, environment),) = became
    assert program == str(player)
    assert json.loads(command[3].removeprefix('bag:=')) == 'runs/one'
    assert environment['ROS_PYTHON_CHECK_FIELDS'] == '1'


def test_a_missing_node_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(ConfigurationError, match='deft_bag'):
        player_command(parse('runs/one'))
