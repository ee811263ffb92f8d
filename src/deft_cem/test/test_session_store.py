# SPDX-License-Identifier: Apache-2.0
"""The session store: order of events, what survives a kill, and files of other versions."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_cem.optimisers.cem import CrossEntropyMethod
from deft_cem.session_store import SessionStore, StoredEpisode
from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError

SEED = 2**64 - 1


def make_store(path: Path) -> SessionStore:
    return SessionStore.create(
        path,
        session_id='s',
        task='pick_cup',
        seed=SEED,
        configuration={'elites': 3},
        optimiser_state={'k': 0},
    )


def episode(number: int) -> StoredEpisode:
    return StoredEpisode(
        number=number,
        episode_id=f'e{number}',
        phase=Phase.WARM_UP,
        object_name='red_mug',
        scene_seed=5,
        sample_index=number,
        prior=tuple(np.linspace(0, 1, 22)),
        residual=tuple(np.linspace(-1, 1, 22) / 3),
    )


def test_a_session_is_read_back_exactly(tmp_path: Path) -> None:
    with make_store(tmp_path / 's.sqlite') as store:
        store.record_ask(episode(0), {'k': 1})
        store.record_outcome('e0', Outcome.COMPLETED)
        store.record_reward('e0', 0.25, 'operator', True, {'k': 2})
        store.record_ask(episode(1), {'k': 3})
    with SessionStore.open(tmp_path / 's.sqlite') as store:
        assert (store.session_id, store.task, store.seed) == ('s', 'pick_cup', SEED)
        assert store.configuration == {'elites': 3}
        assert store.optimiser_state == {'k': 3}
        first, second = store.episodes()
        assert first == replace(
            episode(0),
            outcome=Outcome.COMPLETED,
            reward=0.25,
            reward_source='operator',
            success=True,
            state='rated',
        )
        assert second == episode(1)
        assert store.pending() == second


def test_committed_means_visible_to_another_process_without_closing(tmp_path: Path) -> None:
    """A kill after record_ask leaves the file as this second connection sees it."""
    store = make_store(tmp_path / 's.sqlite')
    store.record_ask(episode(0), {'k': 1})
    with SessionStore.open(tmp_path / 's.sqlite') as after_kill:
        assert after_kill.pending() == episode(0)
        assert after_kill.optimiser_state == {'k': 1}
    store.close()


def test_events_out_of_order_are_refused_and_change_nothing(tmp_path: Path) -> None:
    with make_store(tmp_path / 's.sqlite') as store:
        with pytest.raises(InvalidInputError, match='unknown'):
            store.record_outcome('e0', Outcome.COMPLETED)
        with pytest.raises(InvalidInputError, match='next one is 0'):
            store.record_ask(episode(4), {'k': 9})
        store.record_ask(episode(0), {'k': 1})
        with pytest.raises(InvalidInputError, match='still open'):
            store.record_ask(episode(1), {'k': 9})
        with pytest.raises(InvalidInputError, match='expected executed'):
            store.record_reward('e0', 0.5, 'operator', None, {'k': 9})
        assert store.optimiser_state == {'k': 1}
        store.record_outcome('e0', Outcome.COLLISION)
        for bad in (math.nan, -0.1, 1.1):
            with pytest.raises(InvalidInputError, match='0 to 1'):
                store.record_reward('e0', bad, 'operator', None, {'k': 9})
        assert store.optimiser_state == {'k': 1}
        store.record_withdrawal('e0', {'k': 2})
        assert store.pending() is None
        with pytest.raises(InvalidInputError, match='withdrawn'):
            store.record_reward('e0', 0.5, 'operator', None, {'k': 9})


def test_the_optimiser_resumes_from_the_store_bit_for_bit(tmp_path: Path) -> None:
    def optimiser() -> CrossEntropyMethod:
        return CrossEntropyMethod(np.ones(22), np.random.default_rng(1), elites=3, warm_up=3)

    straight = optimiser()
    samples = []
    with make_store(tmp_path / 's.sqlite') as store:
        for number in range(6):
            sample = straight.ask()
            samples.append(sample.residual)
            store.record_ask(episode(number), straight.state_dict())
            if number < 5:
                store.record_outcome(f'e{number}', Outcome.COMPLETED)
                straight.tell(sample.index, number / 10)
                store.record_reward(
                    f'e{number}', number / 10, 'operator', None, straight.state_dict()
                )
    with SessionStore.open(tmp_path / 's.sqlite') as store:
        resumed = optimiser()
        resumed.load_state_dict(store.optimiser_state)
    assert resumed.pending is not None
    assert resumed.pending.residual.tobytes() == samples[5].tobytes()


def test_files_that_are_no_store_of_this_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    make_store(path).close()
    with pytest.raises(RecordingError, match='exists already'):
        make_store(path)
    connection = sqlite3.connect(path)
    connection.execute('PRAGMA user_version = 2')
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match='update the program'):
        SessionStore.open(path)
    with pytest.raises(RecordingError, match='no session store'):
        SessionStore.open(tmp_path / 'absent.sqlite')
    (tmp_path / 'text.sqlite').write_text('hello, this is not a database at all' * 40)
    with pytest.raises(RecordingError):
        SessionStore.open(tmp_path / 'text.sqlite')
    sqlite3.connect(tmp_path / 'empty.sqlite').execute('CREATE TABLE a (b)').close()
    with pytest.raises(RecordingError, match='not a session store'):
        SessionStore.open(tmp_path / 'empty.sqlite')
