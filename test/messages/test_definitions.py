# SPDX-License-Identifier: Apache-2.0
"""The message texts: documented, and the same for ROS and for a machine without it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.msg import get_types_from_msg as parse

PACKAGE = Path(__file__).resolve().parents[2] / 'src' / 'deft_msgs'
INTERFACES = sorted(
    path for kind in ('msg', 'srv', 'action') for path in (PACKAGE / kind).glob(f'*.{kind}')
)
ERROR_BLOCK = re.compile(r'^uint16 (\w+)=(\d+)$', re.MULTILINE)
UNITLESS = ('std_msgs/', 'deft_msgs/', 'builtin_interfaces/')


def undocumented(path: Path) -> Iterator[str]:
    """Fields without a comment, or without a unit where they are numbers."""
    lines = path.read_text(encoding='utf-8').splitlines()
    if not lines[0].startswith('# '):
        yield 'does not say what it is for'
    for line in lines:
        declaration, _, comment = line.partition('#')
        if not declaration.strip() or line == '---' or '=' in declaration:
            continue
        if not comment.strip().startswith('[') and not (
            comment.strip() and line.startswith(UNITLESS)
        ):
            yield line


def test_every_field_has_a_unit_or_says_what_it_is():
    offenders = [f'{path.name}: {line}' for path in INTERFACES for line in undocumented(path)]
    assert offenders == []


def test_error_codes_are_numbered_in_blocks_without_overlap():
    owner: dict[int, str] = {}
    for path in INTERFACES:
        codes = {int(n): name for name, n in ERROR_BLOCK.findall(path.read_text()) if n != '0'}
        for code, name in codes.items():
            assert code not in owner, f'{path.name}.{name} reuses {code} of {owner[code]}'
            owner[code] = f'{path.name}.{name}'
        if codes:
            assert codes[min(codes)] == 'UNKNOWN'
            assert max(codes) - min(codes) < 20


def test_rosbags_reads_the_same_types_as_ros():
    module = pytest.importorskip('deft_msgs.msg', reason='needs the built messages')
    for path in (path for path in INTERFACES if path.suffix == '.msg'):
        name = f'deft_msgs/msg/{path.stem}'
        constants, fields = parse(path.read_text(encoding='utf-8'), name)[name]
        message = getattr(module, path.stem)
        ours = {field: type_text(description) for field, description in fields}
        assert list(ours.items()) == list(message.get_fields_and_field_types().items()), name
        for constant, _, value in constants:
            assert getattr(message, constant) == value, f'{name}.{constant}'


def type_text(description) -> str:
    """A rosbags field description in the words of rclpy."""
    kind, detail = description
    if kind.name == 'BASE':
        name, limit = detail
        return (
            f'string<{limit}>'
            if limit
            else {'float32': 'float', 'float64': 'double', 'bool': 'boolean'}.get(name, name)
        )
    if kind.name == 'NAME':
        return detail.replace('/msg/', '/')
    inner, length = detail
    if kind.name == 'ARRAY':
        return f'{type_text(inner)}[{length}]'
    return f'sequence<{type_text(inner)}>'


def test_a_record_survives_serialisation_by_both():
    rclpy_serialization = pytest.importorskip('rclpy.serialization')
    deft_msgs = importlib.import_module('deft_msgs.msg')
    record = deft_msgs.EpisodeRecord(episode_id='a', reward=0.5, scene_seed=-1)
    record.prior.grasp.position[2] = 0.25
    record.executed.joint_names[3] = 'index_dip'
    record.rollout_video = [
        importlib.import_module('sensor_msgs.msg').CompressedImage(format='jpeg')
    ]
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict = {}
    for path in INTERFACES:
        if path.suffix == '.msg':
            types |= get_types_from_msg(path.read_text(), f'deft_msgs/msg/{path.stem}')
    store.register(types)
    raw = rclpy_serialization.serialize_message(record)
    read = store.deserialize_cdr(raw, 'deft_msgs/msg/EpisodeRecord')
    assert (read.episode_id, read.reward, read.scene_seed) == ('a', 0.5, -1)
    assert read.prior.grasp.position[2] == 0.25
    assert read.executed.joint_names[3] == 'index_dip'
    assert read.rollout_video[0].format == 'jpeg'
    back = rclpy_serialization.deserialize_message(
        bytes(store.serialize_cdr(read, 'deft_msgs/msg/EpisodeRecord')), deft_msgs.EpisodeRecord
    )
    assert back == record
