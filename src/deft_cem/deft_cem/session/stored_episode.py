# SPDX-License-Identifier: Apache-2.0
"""One episode as the session store keeps it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from deft_core.episode import Outcome, Phase


@dataclass(frozen=True)
class StoredEpisode:
    """One row of the session: an episode that was at least asked for.

    Attributes:
        number: Position among all rows, from 0; withdrawn episodes keep theirs.
        episode_id: Unique name.
        position: Place in the plan; a withdrawn episode's place is taken again.
        phase: Part of the session.
        object_name: What lay on the table.
        scene_seed: Seed of the scene; -1 where a person laid it out.
        sample_index: Proposal of the optimiser; None in evaluation.
        prior: xi as a vector. Length 22. [m, rad]
        residual: epsilon or delta as a vector. Length 22. [m, rad]
        prior_source: What made the prior.
        calibration_id: Camera calibration in use.
        attempt: How often it was begun: 1, and one more after each interruption or redo.
        outcome: How the motion ended; None while it has not.
        reward: 0..1; None while nobody gave one.
        reward_source: Who scored.
        success: Task criterion met; None when not judged.
        state: 'asked', 'executed', 'rated' or 'withdrawn'.
        reason: Why it was withdrawn; empty otherwise.
    """

    number: int
    episode_id: str
    position: int
    phase: Phase
    object_name: str
    scene_seed: int
    sample_index: int | None
    prior: tuple[float, ...]
    residual: tuple[float, ...]
    prior_source: str = ''
    calibration_id: str = ''
    attempt: int = 1
    outcome: Outcome | None = None
    reward: float | None = None
    reward_source: str | None = None
    success: bool | None = None
    state: str = 'asked'
    reason: str = ''


def episode_from_row(row: sqlite3.Row) -> StoredEpisode:
    """Convert a row of the table `episode`.

    Raises:
        ValueError: The row does not hold an episode.
        IndexError: A column is missing.
    """
    return StoredEpisode(
        number=row['number'],
        episode_id=row['episode_id'],
        position=row['position'],
        phase=Phase(row['phase']),
        object_name=row['object_name'],
        scene_seed=row['scene_seed'],
        sample_index=row['sample_index'],
        prior=tuple(json.loads(row['prior'])),
        residual=tuple(json.loads(row['residual'])),
        prior_source=row['prior_source'],
        calibration_id=row['calibration_id'],
        attempt=row['attempt'],
        outcome=None if row['outcome'] is None else Outcome(row['outcome']),
        reward=row['reward'],
        reward_source=row['reward_source'],
        success=None if row['success'] is None else bool(row['success']),
        state=row['state'],
        reason=row['reason'],
    )
