# SPDX-License-Identifier: Apache-2.0
"""The session store: order of events, full disks, and files it must not touch."""

from __future__ import annotations

import math
import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_cem.session.run_config import Baseline, RunConfig
from deft_cem.session.run_folder import STORE_FILE, RunFolder, RunOccupiedError
from deft_cem.session.store import SCHEMA_VERSION, SessionStore, StoredEpisode, leftovers
from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError, RecordingError

SEED = 2**64 - 1
CONFIG = RunConfig('pick_cup', SEED, Baseline.REAL_WORLD_ONLY, 'heuristic', {'elites': 3})


def make_store(path: Path) -> SessionStore:
    return SessionStore.create(path, session_id='s', config=CONFIG)


def episode(number: int) -> StoredEpisode:
    return StoredEpisode(
        number=number,
        episode_id=f'e{number}',
        position=number,
        phase=Phase.WARM_UP,
        object_name='red_mug',
        scene_seed=5,
        sample_index=number,
        prior=tuple(np.linspace(0, 1, 22)),
        residual=tuple(np.linspace(-1, 1, 22) / 3),
    )


def give_reward(store: SessionStore, number: int) -> None:
    store.record_ask(episode(number))
    store.record_outcome(f'e{number}', Outcome.COMPLETED)
    store.record_reward(f'e{number}', 0.5, 'operator', None)


def test_a_session_is_read_back_exactly(tmp_path: Path) -> None:
    with make_store(tmp_path / 's.sqlite') as store:
        store.record_ask(episode(0))
        store.record_outcome('e0', Outcome.COMPLETED)
        store.record_reward('e0', 0.25, 'operator', True)
        store.record_ask(episode(1))
    with SessionStore.read(tmp_path / 's.sqlite') as store:
        assert (store.session_id, store.config) == ('s', CONFIG)
        first, second = store.episodes()
        assert first == replace(
            episode(0),
            outcome=Outcome.COMPLETED,
            reward=0.25,
            reward_source='operator',
            success=True,
            state='rewarded',
        )
        assert second == episode(1)
        assert store.pending() == second
        assert store.rewarded('e0') == first
        assert store.rewarded('e1') is None
        assert not store.trained
        assert not store.finished


def test_committed_means_visible_to_another_process_without_closing(tmp_path: Path) -> None:
    """A kill after record_ask leaves the file as this second connection sees it."""
    store = make_store(tmp_path / 's.sqlite')
    store.record_ask(episode(0))
    with SessionStore.read(tmp_path / 's.sqlite') as after_kill:
        assert after_kill.pending() == episode(0)
    store.close()


def test_events_out_of_order_are_refused_and_change_nothing(tmp_path: Path) -> None:
    with make_store(tmp_path / 's.sqlite') as store:
        with pytest.raises(InvalidInputError, match='unknown'):
            store.record_outcome('e0', Outcome.COMPLETED)
        with pytest.raises(InvalidInputError, match='next one is 0'):
            store.record_ask(episode(4))
        store.record_ask(episode(0))
        with pytest.raises(InvalidInputError, match='still open'):
            store.record_ask(episode(1))
        with pytest.raises(InvalidInputError, match='expected executed'):
            store.record_reward('e0', 0.5, 'operator', None)
        store.record_outcome('e0', Outcome.COMPLETED)
        with pytest.raises(InvalidInputError, match='executed, expected asked'):
            store.record_outcome('e0', Outcome.COLLISION)
        assert store.episodes()[0].outcome is Outcome.COMPLETED
        for bad in (math.nan, -0.1, 1.1):
            with pytest.raises(InvalidInputError, match='0 to 1'):
                store.record_reward('e0', bad, 'operator', None)
        store.record_discard('e0', 'the arm was late')
        assert store.pending() is None
        assert store.episodes()[0].reason == 'the arm was late'
        with pytest.raises(InvalidInputError, match='discarded'):
            store.record_reward('e0', 0.5, 'operator', None)
        with pytest.raises(InvalidInputError, match='discarded'):
            store.record_attempt(
                'e0', object_name='cup', scene_seed=1, prior=(0.0,), residual=(0.0,)
            )


def test_another_attempt_keeps_the_row_and_forgets_the_outcome(tmp_path: Path) -> None:
    with make_store(tmp_path / 's.sqlite') as store:
        store.record_ask(episode(0))
        store.record_outcome('e0', Outcome.COMPLETED)
        new_prior = tuple(np.linspace(1, 2, 22))
        store.record_attempt(
            'e0',
            object_name='blue_mug',
            scene_seed=6,
            prior=new_prior,
            residual=episode(0).residual,
        )
        store.record_outcome('e0', Outcome.COMPLETED)
        store.record_attempt(
            'e0',
            object_name='blue_mug',
            scene_seed=6,
            prior=new_prior,
            residual=episode(0).residual,
        )
        assert store.episodes() == (
            replace(episode(0), attempt=3, object_name='blue_mug', scene_seed=6, prior=new_prior),
        )


def test_skipped_places_and_their_open_episode(tmp_path: Path) -> None:
    with make_store(tmp_path / 's.sqlite') as store:
        store.record_skip(0, Phase.WARM_UP, None, 'skipped')
        store.record_ask(episode(0))
        store.record_skip(1, Phase.FINE_TUNE, 'e0', 'skipped')
        assert store.skipped() == ((0, Phase.WARM_UP), (1, Phase.FINE_TUNE))
        assert store.episodes()[0].state == 'discarded'


def test_launches_and_their_time_add_up(tmp_path: Path) -> None:
    for version in ('1.0', '1.1'):
        with (
            make_store(tmp_path / 's.sqlite')
            if version == '1.0'
            else SessionStore.open(tmp_path / 's.sqlite')
        ) as store:
            before = store.wall_s
            store.begin_launch(version)
            give_reward(store, len(store.episodes()))
            assert store.wall_s > before
    with SessionStore.read(tmp_path / 's.sqlite') as record:
        assert [version for version, _ in record.launches] == ['1.0', '1.1']


# What must not be overwritten.


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b'\xa5' * 4096  # a page in the middle
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ('damage', 'kind', 'message'),
    [
        (
            lambda path: change(path, f'PRAGMA user_version = {SCHEMA_VERSION + 1}'),
            ConfigurationError,
            'newer version .* update the program',
        ),
        (
            lambda path: change(path, 'PRAGMA user_version = 1', 'PRAGMA application_id = 0'),
            ConfigurationError,
            'older version',
        ),
        (
            lambda path: change(path, 'PRAGMA application_id = 77'),
            RecordingError,
            'not a session store',
        ),
        (lambda path: path.write_text('no database at all ' * 99), RecordingError, 'cannot be'),
        (lambda path: path.write_bytes(b''), RecordingError, 'not a session store'),
        (truncated, RecordingError, 'cannot be read|damaged'),
        (overwritten, RecordingError, 'cannot be read|damaged'),
    ],
    ids=['newer', 'older', 'foreign', 'text', 'empty', 'truncated', 'overwritten'],
)  # fmt: skip
def test_files_that_cannot_be_gone_on_with_are_refused_and_kept(
    tmp_path: Path, damage: Callable[[Path], None], kind: type[DeftError], message: str
) -> None:
    path = tmp_path / 's.sqlite'
    make_store(path).close()
    change(path, 'PRAGMA journal_mode = DELETE')  # one file to compare
    damage(path)
    before = path.read_bytes()
    for open_file in (SessionStore.read, SessionStore.open):
        with pytest.raises(kind, match=message) as caught:
            open_file(path)
        assert '\n' not in str(caught.value)
    assert contents(tmp_path) == {path.name: before}


def test_a_store_is_never_made_over_another_file(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    make_store(path).close()
    before = path.read_bytes()
    with pytest.raises(RecordingError, match='exists already'):
        make_store(path)
    with pytest.raises(RecordingError, match='no session store'):
        SessionStore.open(tmp_path / 'absent.sqlite')
    assert path.read_bytes() == before
    assert not (tmp_path / 'absent.sqlite').exists()


def test_what_a_kill_left_of_a_store_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / STORE_FILE
    for name in leftovers(path):
        (tmp_path / name).write_bytes(b'half')
    folder = RunFolder(tmp_path)
    assert not folder.holds_session
    with make_store(path) as store:
        assert store.session_id == 's'
    folder.release()
    assert not any((tmp_path / name).exists() for name in leftovers(path))


def in_a_child(function: Callable[[], None]) -> str:
    """Run a function in a process of its own, so that its limits are its own; what it refused."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        message = 'it crashed'
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a limit on sizes acts as a full disk
            function()
            message = 'nothing was refused'
        except DeftError as error:
            message = str(error)
        finally:
            os.write(writer, message.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        return stream.read()


def limit_files(size: int) -> None:
    """Of this process, in byte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk_is_said_and_what_was_committed_stays(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    with make_store(path) as store:
        give_reward(store, 0)

    def go_on() -> None:
        with SessionStore.open(path) as store:
            store.record_ask(episode(1))
            store.record_outcome('e1', Outcome.COMPLETED)
            limit_files(200_000)
            store.record_reward('e1', 0.5, 'x' * 500_000, None)

    assert 'cannot write' in in_a_child(go_on)
    with SessionStore.read(path) as after:
        assert [e.state for e in after.episodes()] == ['rewarded', 'executed']


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    def create() -> None:
        limit_files(8192)
        make_store(tmp_path / 's.sqlite')

    assert 'cannot write' in in_a_child(create)
    assert not (tmp_path / 's.sqlite').exists()
    make_store(tmp_path / 's.sqlite').close()  # once there is room again


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    run = tmp_path / 'run'
    run.mkdir()
    make_store(run / STORE_FILE).close()
    (run / 'session.lock').touch()
    before = contents(run)

    def as_nobody(function: Callable[[], object]) -> Callable[[], None]:
        def restricted() -> None:
            if os.getuid() == 0:  # root may write everywhere
                os.setegid(65534)
                os.seteuid(65534)
            function()

        return restricted

    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o055)
    run.chmod(0o555)
    try:
        assert 'cannot' in in_a_child(as_nobody(lambda: SessionStore.open(run / STORE_FILE)))
        assert 'run folder' in in_a_child(as_nobody(lambda: RunFolder(run)))
        assert 'run folder' in in_a_child(as_nobody(lambda: RunFolder(run / 'new')))
    finally:
        run.chmod(0o755)
    assert contents(run) == before


def test_a_run_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    with pytest.raises(RunOccupiedError, match='another process'):
        RunFolder(tmp_path)
    assert 'another process' in in_a_child(lambda: RunFolder(tmp_path) and None)
    first.release()
    RunFolder(tmp_path).release()


def test_a_run_folder_that_holds_something_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / 'summary.json').write_text('{}')
    with pytest.raises(RunOccupiedError, match=r'summary\.json'):
        RunFolder(tmp_path)
    assert contents(tmp_path) == {'summary.json': b'{}'}
    with pytest.raises(ConfigurationError, match='is a file'):
        RunFolder(tmp_path / 'summary.json')
    with pytest.raises(ConfigurationError, match='is a file'):
        RunFolder(tmp_path / 'summary.json' / 'deeper')
