# SPDX-License-Identifier: Apache-2.0
"""Files are written whole or not at all and read up to a size."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_core.errors import ConfigurationError, RecordingError
from deft_core.files import read_bytes, read_json, read_text, read_yaml, write_atomically


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Text and bytes; folders are made; nothing else stays in the folder."""
    path = tmp_path / 'new' / 'file.json'
    write_atomically(path, '{"µ": 1}')
    assert read_json(path) == {'µ': 1}
    write_atomically(path, b'{}')
    assert read_bytes(path) == b'{}'
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / 'file.txt'
    path.write_text('old')
    (tmp_path / 'file.txt.part').mkdir()
    with pytest.raises(RecordingError, match=r'file\.txt.*disk full'):
        write_atomically(path, 'new')
    assert path.read_text() == 'old'


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'x' * 101, 'larger than 0.0001 MB'),
        (b'\xff', 'not UTF-8'),
        (b'{\n"a": }', 'line 2, is not JSON'),
        (b'[1]', 'must hold a mapping'),
        (b'[' * 99, 'is not JSON'),
    ],
)
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    """File, place and reason."""
    path = tmp_path / 'document.json'
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_json(path, maximum_bytes=100)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        ('a: [', 'line 2'),
        ('- a', 'must hold a mapping'),
        ('a: !!python/object/apply:os.system ["true"]', 'the tag .* is not allowed'),
    ],
)
def test_what_is_no_plain_yaml_is_named(tmp_path: Path, content: str, expected: str) -> None:
    """Tags that would run code are refused."""
    path = tmp_path / 'document.yaml'
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """As is a folder in its place."""
    with pytest.raises(ConfigurationError, match=r'nothing\.yaml: No such file'):
        read_text(tmp_path / 'nothing.yaml')
    with pytest.raises(ConfigurationError, match='Is a directory'):
        read_text(tmp_path)
