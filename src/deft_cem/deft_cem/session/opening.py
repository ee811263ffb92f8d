# SPDX-License-Identifier: Apache-2.0
"""Opens the store of a run: a new one, or the one of the same session."""

from __future__ import annotations

from collections.abc import Iterable

from deft_cem.optimisers.ask_tell import ResidualOptimiser
from deft_cem.session.record import SessionRecord
from deft_cem.session.run_config import SessionIdentity
from deft_cem.session.run_folder import RunFolder, RunOccupiedError
from deft_cem.session.store import SessionStore
from deft_cem.session.stored_episode import StoredEpisode
from deft_core.errors import InvalidInputError, RecordingError


def open_store(
    folder: RunFolder, identity: SessionIdentity, session_id: str, optimiser: ResidualOptimiser
) -> SessionStore:
    """Create the store, or open it and bring the optimiser to where it was.

    Args:
        folder: Folder of the run, locked.
        identity: What the session is.
        session_id: Name of a new session.
        optimiser: A fresh one.

    Raises:
        RunOccupiedError: The folder holds another session, or one that is finished.
        ConfigurationError: The store was written by another version of the program.
        RecordingError: It is damaged or cannot be written.
    """
    if folder.holds_session:
        _check(folder, identity, optimiser)
        return SessionStore.open(folder.store)
    return SessionStore.create(
        folder.store,
        session_id=session_id,
        identity=identity,
        optimiser_state={},
    )


def _check(folder: RunFolder, identity: SessionIdentity, optimiser: ResidualOptimiser) -> None:
    """Refuse what cannot be gone on with, before the file is opened to be written."""
    with SessionRecord.open(folder.store) as record:
        differences = identity.differences(record.identity)
        if differences:
            raise RunOccupiedError(
                f'{folder.directory} holds another session ({"; ".join(differences[:3])}); '
                'go on with the same arguments or choose another run folder'
            )
        if record.finished:
            raise RunOccupiedError(
                f'the session in {folder.directory} is finished; choose another run folder'
            )
        try:
            _tell_again(optimiser, record.episodes())
        except InvalidInputError as error:
            raise RecordingError(f'{folder.store} is damaged: {error}') from error
        waiting = record.pending()
    sample = None if waiting is None else waiting.sample_index
    pending = None if optimiser.pending is None else optimiser.pending.index
    if sample != pending:
        raise RecordingError(
            f'{folder.store} is damaged: episode and optimiser disagree about what is pending'
        )


def _tell_again(optimiser: ResidualOptimiser, episodes: Iterable[StoredEpisode]) -> None:
    """Bring a fresh optimiser to where it was: the same samples with the same rewards.

    Raises:
        InvalidInputError: The episodes are not those of this optimiser.
    """
    for episode in episodes:
        if episode.sample_index is None:
            continue
        sample = optimiser.ask()
        if sample.index != episode.sample_index:
            raise InvalidInputError(f'sample {sample.index} is missing')
        if episode.state == 'withdrawn':
            optimiser.discard(sample.index)
        elif episode.reward is not None:
            optimiser.tell(sample.index, episode.reward)
