# SPDX-License-Identifier: Apache-2.0
"""The book-keeping of a session: what is tried, what is tried again, what is refused."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from deft_cem.session import core as session_core
from deft_cem.session.core import SessionCore
from deft_cem.session.machine import Event
from deft_cem.session.run_config import Baseline
from deft_cem.session.run_folder import STORE_FILE, RunOccupiedError
from deft_cem.session.schedule import derived_scene_seed
from deft_cem.settings import LearningSettings
from deft_core.episode import Outcome, Phase
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError, RecordingError
from deft_core.grasp import GraspParameters, GraspPrior, GraspResidual

IMAGE = np.zeros((16, 16, 3), dtype=np.uint8)
PRIOR = GraspPrior(
    GraspParameters([0.5, 0.0, 0.1], [0.0, 1.5, 0.0], np.full(16, 0.4)),
    np.array([0.5, 0.0, 0.1]),
    0.01,
    'geometric',
    'pick_cup',
    'pick up the cup',
    'cell',
)
SMALL = LearningSettings(episodes=3, warm_up_episodes=2, evaluation_trials=2)


def make_core(run: Path, **changes) -> SessionCore:
    values = {'session_id': 's', 'task': 'pick_cup', 'seed': 5, 'settings': SMALL}
    return SessionCore(run, **{**values, **changes})


def propose(core: SessionCore):
    return core.propose(IMAGE, PRIOR, 'red_mug', core.scene_seed)


def rate(core: SessionCore, reward: float = 0.5) -> None:
    core.finish_motion(Outcome.COMPLETED)
    core.reward(b'record', 0.0, reward, 'operator', reward > 0.5)


@pytest.fixture
def policy(monkeypatch) -> list[float]:
    """A policy that draws its residual; the list holds what it drew."""
    drawn: list[float] = []

    def predict(image, prior, rng) -> GraspResidual:
        drawn.append(float(rng.uniform()))
        return GraspResidual.from_vector(np.full(22, 1e-3 * drawn[-1]))

    monkeypatch.setattr(session_core, 'load_policy', lambda _: SimpleNamespace(predict=predict))
    return drawn


def practise(core: SessionCore) -> None:
    while core.following() is Event.EPISODES_REMAIN:
        propose(core)
        rate(core)


def test_a_session_that_is_launched_again_goes_on_with_the_pending_sample(tmp_path: Path) -> None:
    core = make_core(tmp_path)
    assert not core.resumed
    propose(core)
    rate(core, 0.2)
    first = propose(core)
    core.finish_motion(Outcome.COMPLETED)
    core.close()

    core = make_core(tmp_path, session_id='not used', must_exist=True)
    assert core.resumed
    assert core.session_id == 's'
    assert core.progress.rewards == (0.2,)
    assert core.episode_id == first.episode_id == 's-001'
    assert core.scene_seed == first.scene_seed
    second = propose(core)
    assert second.residual.to_vector().tobytes() == first.residual.to_vector().tobytes()
    np.testing.assert_array_equal(second.distribution_std, first.distribution_std)
    stored = core.store.pending()
    assert stored is not None
    assert (stored.attempt, stored.outcome, stored.state) == (2, None, 'asked')
    rate(core)
    assert core.episode_id == 's-002'
    core.close()


def test_a_redone_episode_keeps_its_residual_and_an_aborted_one_does_not(tmp_path: Path) -> None:
    core = make_core(tmp_path)
    first = propose(core)
    core.finish_motion(Outcome.COMPLETED)
    core.repeat()
    assert core.episode_id == first.episode_id
    assert core.scene_seed == first.scene_seed
    again = propose(core)
    np.testing.assert_array_equal(again.residual.to_vector(), first.residual.to_vector())
    core.discard('aborted by the operator')
    assert core.progress.position == 0
    other = propose(core)
    assert other.episode_id != first.episode_id
    assert other.scheduled == first.scheduled
    assert not np.array_equal(other.residual.to_vector(), first.residual.to_vector())
    core.close()


def test_nothing_is_open_and_nothing_can_be_rated_or_asked_twice(tmp_path: Path) -> None:
    core = make_core(tmp_path)
    core.repeat()
    core.discard('nothing was open')
    assert core.store.episodes() == ()
    with pytest.raises(InvalidInputError, match='no episode is open'):
        _ = core.proposal
    propose(core)
    with pytest.raises(InvalidInputError, match='still open'):
        propose(core)
    core.close()


def test_skipped_places_stay_empty_and_the_warm_up_waits_for_its_episodes(tmp_path: Path) -> None:
    core = make_core(tmp_path, settings=replace(SMALL, episodes=5, evaluation_trials=0))
    core.skip('skipped by the operator')  # before anything was tried
    propose(core)
    core.skip('skipped by the operator')
    core.close()
    core = make_core(tmp_path, settings=replace(SMALL, episodes=5, evaluation_trials=0))
    assert core.progress.position == 2
    phases = []
    while core.following() is Event.EPISODES_REMAIN:
        phases.append(propose(core).scheduled.phase)
        rate(core)
    assert phases == [Phase.WARM_UP, Phase.WARM_UP, Phase.FINE_TUNE]
    assert core.following() is Event.PRACTICE_COMPLETE
    assert [stored.position for stored in core.store.episodes()] == [1, 2, 3, 4]
    core.close()


def test_another_scene_follows_from_the_planned_one(tmp_path: Path) -> None:
    core = make_core(tmp_path)
    planned = core.scene_seed
    assert [core.another_scene(), core.another_scene()] == [
        derived_scene_seed(planned, 1),
        derived_scene_seed(planned, 2),
    ]
    assert propose(core).scene_seed == core.scene_seed != planned
    rate(core)
    assert core.scene_seed == core.progress.scheduled.scene_seed  # of the next episode
    core.close()


def test_trials_after_practice_also_across_a_kill(tmp_path: Path, policy: list[float]) -> None:
    core = make_core(tmp_path)
    practise(core)
    assert core.following() is Event.PRACTICE_COMPLETE
    core.close()
    core = make_core(tmp_path)  # killed before the training
    assert core.following() is Event.PRACTICE_COMPLETE
    core.take_policy()
    assert core.following() is Event.EPISODES_REMAIN
    trial = propose(core)
    assert trial.scheduled.phase is Phase.EVALUATE_POLICY
    core.close()
    core = make_core(tmp_path)  # killed in a trial: the policy is there, and draws the same z
    again = propose(core)
    assert policy[0] == policy[1]
    np.testing.assert_array_equal(again.residual.to_vector(), trial.residual.to_vector())
    seen = core.another_scene()  # the object could not be seen in the planned scene
    core.repeat()
    propose(core)
    rate(core)
    practise(core)
    assert core.following() is Event.TRIALS_COMPLETE
    prior = [e for e in core.store.episodes() if e.phase is Phase.EVALUATE_PRIOR]
    assert prior[0].scene_seed == seen  # as the trial of the policy had it in the end
    assert not np.any(prior[0].residual)
    core.store.record_finish()
    core.close()
    with pytest.raises(RunOccupiedError, match='finished'):
        make_core(tmp_path)


def test_a_policy_that_is_gone_is_said(tmp_path: Path, policy: list[float], monkeypatch) -> None:
    core = make_core(tmp_path)
    practise(core)
    core.take_policy()
    core.close()
    monkeypatch.undo()
    with pytest.raises(DeftError, match=r'policy\.'):
        make_core(tmp_path)


def test_affordance_only_tries_the_prior_and_nothing_else(tmp_path: Path) -> None:
    core = make_core(tmp_path, baseline=Baseline.AFFORDANCE_ONLY)
    seeds = []
    while core.following() is Event.EPISODES_REMAIN:
        proposal = propose(core)
        assert proposal.scheduled.phase is Phase.EVALUATE_PRIOR
        assert not np.any(proposal.residual.to_vector())
        seeds.append(proposal.scene_seed)
        rate(core)
    assert core.following() is Event.TRIALS_COMPLETE
    schedule = core.schedule
    core.close()
    whole = make_core(tmp_path / 'whole')
    assert seeds == [whole.schedule[i].scene_seed for i in range(3, 5)]
    assert len(schedule) == 2
    whole.close()


def test_the_seed_of_a_predictor_is_that_of_the_scene(tmp_path: Path, policy) -> None:
    core = make_core(tmp_path)
    practise(core)
    core.take_policy()
    seeds = []
    while core.following() is Event.EPISODES_REMAIN:
        seeds.append(core.prediction_seed())
        propose(core)
        rate(core)
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]
    core.close()


def test_priors_of_another_origin_do_not_belong_to_the_session(tmp_path: Path) -> None:
    core = make_core(tmp_path)
    propose(core)
    rate(core)
    core.close()
    core = make_core(tmp_path)
    for changes in ({'source': 'heuristic/1'}, {'calibration_id': 'moved'}):
        with pytest.raises(InvalidInputError, match='begin another session'):
            core.propose(IMAGE, replace(PRIOR, **changes), 'red_mug', 3)
    assert len(core.store.episodes()) == 1
    propose(core)
    core.close()


# What is not gone on with.


def contents(folder: Path) -> dict[str, bytes]:
    """All files but those in which SQLite notes that somebody reads."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(('-shm', '-wal'))
    }


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'task': 'pour_cup'}, "task is 'pour_cup' and was 'pick_cup'"),
        ({'seed': 6}, 'seed is 6 and was 5'),
        ({'baseline': Baseline.REAL_WORLD_ONLY}, "method is 'real_world_only'"),
        ({'predictor': 'geometric'}, 'predictor'),
        ({'settings': replace(SMALL, elites=4)}, 'elites is 4 and was 10'),
        ({'settings': replace(SMALL, episodes=4)}, 'episodes is 4 and was 3'),
    ],
)
def test_another_session_is_refused_and_the_first_one_kept(
    tmp_path: Path, changes, message: str
) -> None:
    core = make_core(tmp_path)
    propose(core)
    core.close()
    before = contents(tmp_path)
    with pytest.raises(RunOccupiedError, match=message):
        make_core(tmp_path, **changes)
    assert contents(tmp_path) == before
    make_core(tmp_path).close()  # nobody holds the folder


@pytest.mark.parametrize(
    'statement',
    [
        "UPDATE session SET settings = 'x'",
        "UPDATE session SET baseline = 'magic'",
        "UPDATE session SET seed = 'five'",
        'UPDATE episode SET sample_index = 7',
        'UPDATE episode SET phase = 77',
    ],
)
def test_a_store_that_contradicts_itself_is_refused_and_kept(
    tmp_path: Path, statement: str
) -> None:
    core = make_core(tmp_path)
    propose(core)
    core.close()
    connection = sqlite3.connect(tmp_path / STORE_FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = contents(tmp_path)
    with pytest.raises((RecordingError, RunOccupiedError)) as refusal:
        make_core(tmp_path)
    assert '\n' not in str(refusal.value)
    assert contents(tmp_path) == before


def test_what_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RunOccupiedError, match='no session'):
        make_core(tmp_path / 'run', must_exist=True)
    assert not (tmp_path / 'run').exists()


def test_a_folder_in_use_and_settings_of_no_session_are_refused(tmp_path: Path) -> None:
    core = make_core(tmp_path / 'run')
    with pytest.raises(RunOccupiedError, match='another process'):
        make_core(tmp_path / 'run')
    core.close()
    with pytest.raises(ConfigurationError, match='warm_up'):
        make_core(tmp_path / 'other', settings=replace(SMALL, warm_up_episodes=3))
    assert not (tmp_path / 'other').exists()


class AnyCourse(RuleBasedStateMachine):
    """Whatever is done and whenever the process ends: nothing committed is lost or changed."""

    settings = replace(SMALL, episodes=6, evaluation_trials=0)

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.seed = seed
        self.residuals: dict[str, bytes] = {}
        self.rewards: list[float] = []
        self.gone: set[str] = set()
        self.core = self.launch()
        self.is_open = False  # proposed by this process
        self.executed = False

    def launch(self) -> SessionCore:
        return make_core(self.folder / 'run', seed=self.seed, settings=self.settings)

    @precondition(lambda self: not self.is_open and self.core.following() is Event.EPISODES_REMAIN)
    @rule()
    def propose(self) -> None:
        proposal = propose(self.core)
        assert proposal.episode_id not in self.gone
        residual = proposal.residual.to_vector().tobytes()
        assert self.residuals.setdefault(proposal.episode_id, residual) == residual
        self.is_open, self.executed = True, False

    @precondition(lambda self: self.is_open and not self.executed)
    @rule(outcome=st.sampled_from(list(Outcome)))
    def move(self, outcome: Outcome) -> None:
        self.core.finish_motion(outcome)
        self.executed = True

    @precondition(lambda self: self.is_open and self.executed)
    @rule(reward=st.floats(0.0, 1.0))
    def rate(self, reward: float) -> None:
        self.gone.add(self.core.episode_id)
        self.core.reward(b'record', 0.0, reward, 'operator', None)
        self.rewards.append(reward)
        self.is_open = False

    @rule()
    def redo(self) -> None:
        self.core.repeat()
        self.is_open = False

    @rule()
    def abort(self) -> None:
        if self.is_open:
            self.gone.add(self.core.episode_id)
        self.core.discard('aborted')
        self.is_open = False

    @precondition(lambda self: self.core.following() is Event.EPISODES_REMAIN)
    @rule()
    def skip(self) -> None:
        position = self.core.progress.position
        self.core.skip('skipped')
        assert self.core.progress.position == position + 1
        self.is_open = False

    @rule()
    def kill(self) -> None:
        distribution = [values.tobytes() for values in self.core.distribution]
        before = (self.core.progress.position, self.core.episode_id)
        self.core.close()
        self.core = self.launch()
        assert [values.tobytes() for values in self.core.distribution] == distribution
        assert (self.core.progress.position, self.core.episode_id) == before
        self.is_open = False

    @invariant()
    def rewards_are_kept(self) -> None:
        if hasattr(self, 'core'):
            assert list(self.core.progress.rewards) == self.rewards

    def teardown(self) -> None:
        if hasattr(self, 'core'):
            self.core.close()
            shutil.rmtree(self.folder)


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = hypothesis_settings(
    max_examples=15, stateful_step_count=20, deadline=None
)
