# SPDX-License-Identifier: Apache-2.0
"""Whatever a file holds, its reader ends in a value or in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_arm.configuration import load_arm_configuration
from deft_arm.demonstration.extraction import ExtractionSettings, extract
from deft_arm.demonstration.tracks import TRACKERS, load_track, track_from_frames
from deft_arm.planning.planner import EpisodePlanner
from deft_bringup.launching.interpreter import Interpreter, declared_arguments, listing
from deft_cem.encoders.registry import make_encoder
from deft_cem.policies.choice import KINDS
from deft_cem.policies.condition import PRIOR_FEATURES, BlockProjection, ConditionProjection
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE, ResidualPolicy, load_policy
from deft_cem.rewards.visual import load_image
from deft_cem.session.run_config import Baseline, RunConfig
from deft_cem.session.store import SessionStore, StoredEpisode
from deft_cem.settings import load_learning_settings
from deft_core.camera import CameraIntrinsics
from deft_core.configuration import build
from deft_core.episode import Phase
from deft_core.errors import DeftError
from deft_core.files import parse_json, read_json, read_text, read_yaml
from deft_core.task import load_task
from deft_core.trajectory import WristTrajectory
from deft_hand_driver.calibration.learned_map import AffineModel, MapRecord, load_map
from deft_hand_driver.calibration.pairs import PairsFile, hand_identity, load_pairs
from deft_hand_driver.description import load_hand_description, measurements_path
from deft_hand_driver.joint_map import closed_form_map
from deft_perception.calibration.board import BoardConfiguration, load_board, save_board_page
from deft_perception.calibration.calibration_file import load_named_calibration
from deft_perception.calibration.postures import load_postures
from deft_perception.calibration.views import load_views
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.configuration import load_simulation_settings

CONFIG = Path(__file__).resolve().parents[2] / 'config'
CAMERA = CameraIntrinsics(640, 480, 615.0, 615.0, 320.0, 240.0)
Read = Callable[[], object]


def trajectory(folder: Path) -> tuple[Path, Read]:
    path = folder / 'trajectories' / 'pick_cup.json'
    return path, lambda: WristTrajectory.load(path).poses(np.eye(3), np.zeros(3))


def task(folder: Path) -> tuple[Path, Read]:
    read = partial(load_task, 'pick_cup', folder)
    return folder / 'tasks/pick_cup.yaml', lambda: read().load_trajectory(folder)


def track(folder: Path) -> tuple[Path, Read]:
    times = [0.1 * n for n in range(60)]
    document = {
        'schema': 'deft_pose_track/1',
        'frame_id': 'link_base',
        'source': 'test',
        'times_s': times,
        'positions_m': [[0.5, 0.01 * t, 0.1] for t in times],
        'rotations_xyzw': [[0.0, 0.0, 0.0, 1.0] for _ in times],
    }
    path = folder / 'track.json'
    path.write_text(json.dumps(document))
    return path, lambda: extract(load_track(path, ''), np.eye(4), ExtractionSettings())


def table(folder: Path) -> tuple[Path, Read]:
    path = folder / 'track.csv'
    rows = [f'{0.1 * n:.1f},0.5,0,0.1,0,0,0,1' for n in range(60)]
    path.write_text('\n'.join(['time_s,x_m,y_m,z_m,qx,qy,qz,qw', *rows]))
    return path, lambda: extract(load_track(path, 'link_base'), np.eye(4), ExtractionSettings())


def tracker(name: str, folder: Path) -> tuple[Path, Read]:
    hand = np.random.default_rng(0).normal(0.0, 0.05, (21, 3)).round(3).tolist()
    frame = {
        'keypoints_3d': hand,
        'cam_t_full': [0.0, 0.0, 0.5],
        'scaled_focal_length': 600.0,
        'pred_joints_smpl': hand,
        'pred_camera': [5.0, 0.0, 0.0],
        'bbox_scale_ratio': 1.0,
        'bbox_top_left': [200.0, 200.0],
        'world_landmarks': hand,
        'landmarks': hand,
        'wrist_depth_m': 0.5,
    }
    path = folder / f'{name}.json'
    path.write_text(json.dumps([frame, frame, None, frame]))

    def read() -> object:
        frames = parse_json(read_text(path), str(path))
        return track_from_frames(frames, name, 30.0, CAMERA, 'camera', right=True)

    return path, read


def hand(name: str, folder: Path) -> tuple[Path, Read]:
    def read() -> None:
        closed_form_map(load_hand_description(name, folder)).motors_from_joints(np.zeros(16))

    return folder / f'hands/{name}.yaml', read


def measured(folder: Path) -> tuple[Path, Read]:
    path = measurements_path('dash', folder)
    motor = load_hand_description('dash', folder).motors['index_curl']
    entries = {
        name: getattr(motor, name) for name in ['id', 'sign', 'gear', 'zero', 'lower', 'upper']
    }
    path.write_text(json.dumps({'motors': {'index_curl': entries}}))
    return path, partial(load_hand_description, 'dash', folder)


def learned_map(folder: Path) -> tuple[Path, Read]:
    description = load_hand_description('dash', folder)
    lower, upper = (limit.tolist() for limit in description.motor_limits())
    model = AffineModel(lower, upper, [0.5] * 16, [0.0] * 16)
    numbers = (0.1, 0.1, 0.2, {'index_side': 0.1})
    record = MapRecord('2026-11-21', 'test', 5, *numbers, model, model, hand_identity(description))
    path = folder / 'map.json'
    path.write_text(json.dumps(asdict(record)))

    def read() -> None:
        learned, _ = load_map(path, description)
        assert np.all(np.isfinite(learned.motors_from_joints(np.zeros(16))))

    return path, read


def pairs(folder: Path) -> tuple[Path, Read]:
    description = load_hand_description('dash', folder)
    path = folder / 'pairs.json'
    file = PairsFile(path, description, 'test')
    file.append(0, np.zeros(12), np.zeros(12), np.zeros(16))
    return path, partial(load_pairs, path, description)


def views(folder: Path) -> tuple[Path, Read]:
    corners = [[300 + 20 * (n % 6), 200 + 20 * (n // 6)] for n in range(24)]
    view = {
        'name': 'v',
        'T_base_flange': np.eye(4).tolist(),
        'joints': [0.0] * 6,
        'corners': corners,
        'identifiers': list(range(24)),
    }
    board = BoardConfiguration('b', 7, 5, 0.025, 0.018, 'DICT_4X4_50')
    camera = {'width': 640, 'height': 480, 'fx': 600.0, 'fy': 600.0, 'cx': 320.0, 'cy': 240.0}
    document = {
        'schema_version': 1,
        'board': asdict(board),
        'camera': camera,
        'camera_serial': '1',
        'camera_frame': 'c',
        'date': '2026-11-01',
        'views': [view],
    }
    (folder / 'views.json').write_text(json.dumps(document))
    return folder / 'views.json', partial(load_views, folder)


def policy(folder: Path) -> tuple[Path, Read]:
    rng = np.random.default_rng(0)
    settings_type, make_method, _ = KINDS['mlp']
    method, encoder = make_method(settings_type()), make_encoder('gradient_color_1')
    blocks = [
        BlockProjection(rng.standard_normal(n), rng.standard_normal((k, n)))
        for k, n in ((2, encoder.dimension), (3, PRIOR_FEATURES))
    ]
    tensors = {n: rng.standard_normal(shape) for n, shape in method.shapes(5).items()}
    made = ResidualPolicy(encoder, ConditionProjection(*blocks), np.ones(22), method, tensors)
    made.save(folder, {'seed': 2**64 - 1, 'kinds': ['mlp']})
    return folder / CONFIG_FILE, partial(load_policy, folder)


def parameters(folder: Path) -> tuple[Path, Read]:
    path = folder / 'settings.yaml'
    path.write_text(json.dumps(asdict(SegmentationSettings())))
    return path, lambda: build(SegmentationSettings, read_yaml(path), str(path))


def launch_file(folder: Path) -> tuple[Path, Read]:
    path = folder / 'a.launch.xml'
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<launch><arg name="a" default="x"/><group>'
        '<let name="b" value="$(var a) $(env HOME \'\')"/></group>'
        '<node pkg="deft_arm" exec="arm_node" name="n" namespace="/" output="screen">'
        '<param name="p" value="1"/><param name="q" value="$(var a)" type="str"/></node></launch>'
    )
    (folder / 'scratch').mkdir()

    def read() -> None:
        listing(declared_arguments(path, os.environ))
        Interpreter(os.environ, folder / 'scratch').run(path, {})

    return path, read


def summary(folder: Path) -> tuple[Path, Read]:
    path = folder / 'summary.json'
    path.write_text('{"method": "deft", "seed": 1, "settings": {"elites": [1, 2]}}')
    return path, partial(read_json, path)


def named(place: str, read: Callable[[Path], object], folder: Path) -> tuple[Path, Read]:
    return folder / place, partial(read, folder)


READERS: dict[str, Callable[[Path], tuple[Path, Read]]] = {
    'trajectory': trajectory,
    'task': task,
    'track': track,
    'table': table,
    **{name: partial(tracker, name) for name in TRACKERS},
    'dash': partial(hand, 'dash'),
    'leap': partial(hand, 'leap'),
    'measured': measured,
    'map': learned_map,
    'pairs': pairs,
    'views': views,
    'policy': policy,
    'parameters': parameters,
    'launch': launch_file,
    'summary': summary,
    'arm': partial(
        named,
        'arms/xarm6.yaml',
        lambda folder: EpisodePlanner(load_arm_configuration('xarm6', folder)),
    ),
    'board': partial(
        named,
        'boards/charuco_7x5.yaml',
        lambda folder: save_board_page(load_board('charuco_7x5', folder), folder / 'page.png'),
    ),
    'calibration': partial(
        named, 'calibration/simulated_cell.yaml', partial(load_named_calibration, 'simulated_cell')
    ),
    'postures': partial(
        named, 'postures/simulated_cell.yaml', partial(load_postures, 'simulated_cell')
    ),
    'cell': partial(named, 'simulation/cell.yaml', load_simulation_settings),
    'learning': partial(
        named,
        'learning.yaml',
        lambda folder: load_learning_settings(folder / 'learning.yaml').make_optimiser(0).ask(),
    ),
    'image': partial(
        named,
        'goals/pick_cup_goal.jpg',
        lambda folder: load_image(folder / 'goals' / 'pick_cup_goal.jpg'),
    ),
}
TEXTS = [name for name in READERS if name != 'image']
DOCUMENTS = [name for name in TEXTS if name not in ('table', 'launch')]
# Texts in the place of a value, also such as no program would write.
VALUES = (
    'NaN', 'Infinity', '-Infinity', '1e400', '-1e400', '1e308', '1' + '0' * 400, '1' + '0' * 5000,
    '18446744073709551615', '-9223372036854775809', '-0', '-0.0', '0', '1e-320', 'true', 'null',
    '"fast"', '"1.5"', '""', '"yesterday"', r'"\u0000"', r'"\ud800"', '"../../x"', '[]', '{}',
    '[[]]', '[1, [2]]', '{"a": 1}', '[' * 40 + ']' * 40, '[' * 3000, '[' + '0,' * 60_000 + '0]',
)  # fmt: skip
YAML_VALUES = (
    '.inf', '.nan', 'on', '0x_', '0b', '1_', '2026-13-45', '2026-11-28', '!!int abc', '!x 1', '<<',
    '=', '&a 1', '*a', '1:99', '{on: 1}', '{1: 1}', '{null: 1}', '{1.5: 1}', '{2026-01-01: 1}',
    '{[a]: 1}', '? a', '{a: 1, a: 2}', '{<<: {a: 1}}', '---', '\x07', "''",
    '!!python/name:os.system',
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG, tmp_path / 'config'))


def outcome(read: Read) -> str:
    """The sentence of a refusal, or nothing where the file was taken."""
    try:
        read()
    except DeftError as error:
        sentence = str(error)
    else:
        return ''
    assert 0 < len(sentence) < 2100
    assert len(sentence.strip().splitlines()) == 1
    return sentence


def fifo(path: Path) -> None:
    os.mkfifo(path)


def large(path: Path) -> None:
    with path.open('wb') as stream:
        stream.truncate(10 * 1024**3)


def bomb(path: Path) -> None:
    rows = [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]' for n in range(1, 9)]
    path.write_text('a0: &a0 [x]\n' + '\n'.join(rows))


def merge_bomb(path: Path) -> None:
    rows = [f'm{n}: &m{n} {{<<: [{", ".join([f"*m{n - 1}"] * 9)}]}}' for n in range(1, 9)]
    path.write_text('m0: &m0 {a: 1}\n' + '\n'.join(rows))


FILES: dict[str, Callable[[Path], object]] = {
    'missing': lambda _: None,
    'folder': lambda path: path.mkdir(),
    'fifo': fifo,
    'endless': lambda path: path.symlink_to('/dev/zero'),
    'device': lambda path: path.symlink_to('/dev/tty'),
    'loop': lambda path: path.symlink_to(path),
    'large': large,
    'empty': lambda path: path.write_bytes(b''),
    'latin': lambda path: path.write_bytes(b'\xff\xfe\x00a'),
    'zeros': lambda path: path.write_bytes(bytes(5000)),
    'brackets': lambda path: path.write_text('[' * 100_000),
    'braces': lambda path: path.write_text('{"a":' * 100_000),
    'groups': lambda path: path.write_text(
        '<launch>' + '<group>' * 3000 + '</group>' * 3000 + '</launch>'
    ),
    'list': lambda path: path.write_text('[' + '1,' * 60_000 + '1]'),
    'entries': lambda path: path.write_text(
        '{' + ','.join(f'"n{n}": {{}}' for n in range(60_000)) + '}'
    ),
    'bomb': bomb,
    'merges': merge_bomb,
    'field': lambda path: path.write_text(
        'time_s,x_m,y_m,z_m,qx,qy,qz,qw\n"' + 'x' * 200_000 + '"'
    ),
    'lines': lambda path: path.write_text('\n' * 200_000),
    'entities': lambda path: path.write_text(
        '<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><launch>&b;</launch>'
    ),
    'scalar': lambda path: path.write_text('1'),
    'tokens': lambda path: path.write_text('time_s,x_m\r\r\n"\n'),
}


@pytest.mark.parametrize('name', READERS)
def test_a_file_of_another_kind_is_refused(folder, name):
    """And what was right is taken before."""
    path, read = READERS[name](folder)
    assert outcome(read) == ''
    for kind, make in FILES.items():
        path.unlink(missing_ok=True)
        make(path)
        harmless = (kind, name) in (('missing', 'measured'), ('entries', 'summary'))
        assert (outcome(read) == '') == harmless, kind
        if path.is_dir():
            path.rmdir()


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document has values, itself not counted."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in entries:
            yield (*place, key)
            yield from places(inner, (*place, key))


def plain(document: Any) -> str:
    """JSON that is YAML 1.1, too: that has no number without a dot before its exponent."""
    return re.sub(r'(?<![.\d])(\d+)e-', r'\1.0e-', json.dumps(document))


def changed(document: Any, place: tuple[Any, ...], text: str) -> str:
    """The document as JSON, which is YAML, too, with some text in one place."""
    parts = json.loads(plain(document))
    inner = parts
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = '@@'
    return plain(parts).replace('"@@"', text)


@pytest.mark.parametrize('name', DOCUMENTS)
def test_one_wrong_value_is_taken_or_refused(folder, name):
    """Every value once, in a place that chance chooses; and every entry left out or twice."""
    path, read = READERS[name](folder)
    random_ = random.Random(name)
    text = path.read_text()
    document = parse_json(text, '') if text[0] in '[{' else read_yaml(path)
    listed = sorted(places(document), key=str)
    texts = [changed(document, random_.choice(listed), value) for value in (*VALUES, *YAML_VALUES)]
    keys = [place for place in listed if isinstance(place[-1], str)]
    for place in random_.sample(keys, min(8, len(keys))):
        mark = json.dumps(place[-1])
        whole = plain(document)
        texts.append(whole.replace(f'{mark}:', f'{mark}: 0, {mark}:', 1))
        texts.append(whole.replace(f'{mark}:', '"other":', 1))
        texts.append(whole.replace(f'{mark}:', '1:', 1))
    path.write_text(plain(document))
    assert outcome(read) == ''
    for text in texts:
        path.write_text(text, encoding='utf-8')
        outcome(read)


@pytest.mark.parametrize('name', READERS)
def test_damaged_bytes_are_taken_or_refused(folder, name):
    path, read = READERS[name](folder)
    random_ = random.Random(name)
    whole = path.read_bytes()
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(random_.choice((1, 1, 3, 20))):
            start = random_.randrange(len(data) + 1)
            length = random_.choice((1, 1, 4, 50))
            piece = random_.choice(
                (b'', random_.randbytes(length), b'9' * length, b'-', b'"', b'[{' * length,
                 bytes(data[start : start + length]) * 2, b'\n', b'&#1;', b'$(var a'),
            )  # fmt: skip
            data[start : start + length] = piece
        path.write_bytes(bytes(data))
        outcome(read)


def test_sizes_in_the_header_of_tensors_are_not_believed(folder):
    policy(folder)
    data = (folder / WEIGHTS_FILE).read_bytes()
    length = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + length])
    config = json.loads((folder / CONFIG_FILE).read_text())
    for change in (
        {'shape': [2**62, 2**62]}, {'shape': [0, 2**63]}, {'shape': [2**64 - 1]}, {'shape': [-1]},
        {'shape': [0] * 70}, {'shape': [2**65]}, {'shape': 'x'}, {'dtype': 'F8_E5M2'},
        {'dtype': 'x'}, {'data_offsets': [0, 2**63]}, {'data_offsets': [8, 0]}, {'shape': []},
    ):  # fmt: skip
        text = json.dumps({**header, 'sigma': {**header['sigma'], **change}}).encode()
        for size in (len(text), 2**63, 0):
            broken = size.to_bytes(8, 'little') + text + data[8 + length :]
            (folder / WEIGHTS_FILE).write_bytes(broken)
            config['weights_sha256'] = hashlib.sha256(broken).hexdigest()
            (folder / CONFIG_FILE).write_text(json.dumps(config))
            assert outcome(partial(load_policy, folder)), change


def test_a_session_store_holds_what_it_should_or_is_refused(tmp_path):
    whole, path = tmp_path / 'whole.sqlite', tmp_path / 'session.sqlite'
    config = RunConfig('pick_cup', 3, Baseline.DEFT, '', {'elites': 3})
    with SessionStore.create(whole, session_id='s', config=config) as store:
        store.begin_launch('1')
        vector = (0.0,) * 22
        store.record_ask(StoredEpisode(0, 'e', 0, Phase.WARM_UP, 'cup', 1, 0, vector, vector))
        store.record_skip(1, Phase.FINE_TUNE, None, '')

    def read() -> None:
        for opened in (SessionStore.read, SessionStore.open):
            with opened(path) as store:
                json.dumps(
                    [
                        store.session_id, store.config.seed, store.trained, store.finished,
                        store.wall_s, store.launches, len(store.episodes()), store.skipped(),
                        dict(store.config.settings), store.config.task,
                    ],
                    allow_nan=False, default=lambda phase: phase.value,
                )  # fmt: skip

    def change(*statements: str) -> None:
        for left in tmp_path.glob('session.sqlite*'):
            left.unlink()
        shutil.copy(whole, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute('PRAGMA ignore_check_constraints = ON')
            for statement in statements:
                connection.execute(statement)

    change()
    assert outcome(read) == ''
    with closing(sqlite3.connect(whole)) as connection:
        columns = [
            (table, row[1])
            for table in ('session', 'launch', 'episode', 'skipped')
            for row in connection.execute(f'PRAGMA table_info({table})')
        ]
    values = (
        "'x'", "''", 'NULL', '9e999', '-9e999', '-1', '1e300', '9223372036854775807', "x'ff00'",
        "CAST(x'ff' AS TEXT)", f"'{'[' * 20_000}'", f"'1{'0' * 5000}'", f"'[1{'0' * 400}]'",
        "'[NaN]'", "'[]'", "'{}'", "'[[1]]'", "'5'",
    )  # fmt: skip
    random_ = random.Random(0)
    for table, column in columns:
        for value in random_.sample(values, 4):
            try:
                change(f'UPDATE {table} SET {column} = {value}')
            except sqlite3.Error:
                continue  # SQLite itself does not let this in
            outcome(read)
    endless = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n'
    for statements in (
        ('DELETE FROM session',),
        ('DROP TABLE episode',),
        ('DROP TABLE episode', f'CREATE VIEW episode AS {endless}'),
        ('CREATE TRIGGER t AFTER UPDATE ON session BEGIN DELETE FROM episode; END',),
    ):
        change(*statements)
        assert outcome(read)


NODE = '<node pkg="deft_arm" exec="arm_node" name="n" namespace="/" output="screen">{}</node>'


def launched(folder: Path, body: str) -> str:
    path = folder / 'a.launch.xml'
    path.write_text(f'<launch>{body.replace("@path", str(path))}</launch>')

    def read() -> None:
        listing(declared_arguments(path, os.environ))
        Interpreter(os.environ, folder).run(path, {})

    return outcome(read)


@pytest.mark.parametrize(
    'body',
    [
        '<let name="a" value="xxxxxxxxxx"/>' + '<let name="a" value="$(var a)$(var a)"/>' * 60,
        '<arg name="a" default="' + '$(var ' * 2000 + '"/>',
        '<arg name="a" default="' + '$(equals ' * 49 + '"/>',
        '<let name="a" value="' + '$(equals x x)' * 2000 + '"/>',
        '<include file="@path"/><include file="@path"/>',
        '<include file="' + 'x' * 5000 + '.xml"/>',
        '<let name="A=B" value="$(env A=B)"/>',
        NODE.format('').replace('deft_arm', 'x' * 5000),
        NODE.format('<param name="" value="1"/>'),
        NODE.format('<param name="a b" value="1"/>'),
        NODE.format('<param name="p" value="1' + '0' * 400 + '" type="int"/>'),
        NODE.format('<param from="/dev/zero"/>'),
        NODE.format('<param from="' + 'x' * 5000 + '"/>'),
    ],
)
def test_a_launch_file_cannot_grow_without_end(tmp_path, body):
    assert launched(tmp_path, body)


@pytest.mark.parametrize('value', ['[' * 3000, '1' + '0' * 5000, *YAML_VALUES[:-1]])
@pytest.mark.parametrize('kind', ['', ' type="str"', ' type="bool"', ' type="float"'])
def test_a_value_of_a_parameter_is_taken_or_refused(tmp_path, value, kind):
    text = value.replace('&', '&amp;').replace('<', '&lt;').replace('"', '&quot;')
    launched(tmp_path, NODE.format(f'<param name="p" value="{text}"{kind}/>'))


def test_arguments_of_a_launch_are_limited(tmp_path):
    path, _ = launch_file(tmp_path)
    interpreter = Interpreter(os.environ, tmp_path)
    assert outcome(lambda: interpreter.run(path, {'a': 'x' * 50_000_000}))


@pytest.mark.parametrize('encoding', ['UFT-8', 'utf-16', 'shift_jis', 'latin-1'])
def test_launch_files_are_utf_8(tmp_path, encoding):
    path = tmp_path / 'a.launch.xml'
    path.write_text(f'<?xml version="1.0" encoding="{encoding}"?><launch/>')
    assert 'UTF-8' in outcome(lambda: declared_arguments(path, {}))
