# SPDX-License-Identifier: Apache-2.0
"""What stands in our launch files: known topics, known tasks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from deft_bringup.commands.demo import add_arguments
from deft_bringup.launching.document import Element, read_document

REPOSITORY = Path(__file__).parents[3]
LAUNCH_FILES = sorted((REPOSITORY / 'launch').glob('*.launch.xml'))


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


def arguments() -> dict[str, Element]:
    root = read_document(REPOSITORY / 'launch' / 'fine_tune.launch.xml')
    return {child.attributes['name']: child for child in root.children if child.tag == 'arg'}


def test_demo_knows_arguments_of_the_launch_file() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = set(vars(parser.parse_args([])))
    assert options <= arguments().keys()
