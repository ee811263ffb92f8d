# SPDX-License-Identifier: Apache-2.0
"""What stands in our launch files: known topics, known tasks, nothing that upstream lacks."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from deft_bringup.commands.demo import add_arguments
from deft_bringup.launch_xml.actions import (
    Action,
    Argument,
    Executable,
    Group,
    Include,
    Node,
    parse_file,
)
from deft_bringup.launch_xml.substitutions import Text

REPOSITORY = Path(__file__).parents[3]
LAUNCH_FILES = sorted((REPOSITORY / 'launch').glob('*.launch.xml'))


def all_actions(actions: tuple[Action, ...]) -> list[Action]:
    found: list[Action] = []
    for action in actions:
        found.append(action)
        if isinstance(action, Group):
            found += all_actions(action.actions)
    return found


@pytest.mark.parametrize('file', LAUNCH_FILES, ids=lambda file: file.name)
def test_remapped_topics_are_known(file: Path) -> None:
    sources = ' '.join(path.read_text() for path in (REPOSITORY / 'src').glob('*/*/nodes/*.py'))
    for action in all_actions(parse_file(file)):
        if isinstance(action, Node):
            for template in (template for pair in action.remappings for template in pair):
                for text in (part for part in template if isinstance(part, Text)):
                    assert f"'{text.value}'" in sources, f'{file.name}: no node knows {text.value}'


@pytest.mark.parametrize('file', LAUNCH_FILES, ids=lambda file: file.name)
def test_files_keep_to_what_upstream_has_too(file: Path) -> None:
    """Upstream lists the arguments of includes only where their path needs no arguments."""
    for action in all_actions(parse_file(file)):
        assert not isinstance(action, Executable), 'nodes only: an executable has no parameters'
        if isinstance(action, Include):
            names = {part.name for part in action.file if not isinstance(part, Text)}
            assert names == {'find-pkg-share'}


def test_demo_knows_arguments_of_the_launch_file() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = set(vars(parser.parse_args([])))
    declared = {
        action.name
        for action in parse_file(REPOSITORY / 'launch' / 'fine_tune.launch.xml')
        if isinstance(action, Argument)
    }
    assert options <= declared
