# SPDX-License-Identifier: Apache-2.0
"""What a run folder holds, sorted for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft_core.episode import Episode, Phase
from deft_core.errors import RecordingError

LAST = 10
# A summary is a few kilobytes; more is not one of ours.
LARGEST_JSON = 4 * 2**20


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One session, complete or not.

    Attributes:
        name: Name of the run folder.
        episodes: At least one, in the order they were run.
        summary: Contents of summary.json; None when the session did not get to write one.
        policy: Contents of policy.json; None when no policy was trained.
        truncated: Whether the bag ends early, as after a kill.
    """

    name: str
    episodes: tuple[Episode, ...]
    summary: Mapping[str, Any] | None
    policy: Mapping[str, Any] | None
    truncated: bool

    def __post_init__(self) -> None:
        """Refuse a run without episodes and put the others in order.

        Raises:
            RecordingError: No episode.
        """
        if not self.episodes:
            raise RecordingError(
                f'The bag of {self.name} holds no finished episode, so there is nothing to '
                'report; let the session finish at least one episode and try again.'
            )
        ordered = tuple(sorted(self.episodes, key=lambda episode: episode.index))
        object.__setattr__(self, 'episodes', ordered)

    def phase(self, *phases: Phase) -> tuple[Episode, ...]:
        """Episodes of the given parts of the session, in order."""
        return tuple(episode for episode in self.episodes if episode.phase in phases)

    @property
    def practice(self) -> tuple[Episode, ...]:
        """Warm-up and fine-tuning, in order."""
        return self.phase(Phase.WARM_UP, Phase.FINE_TUNE)

    @property
    def last_tuned(self) -> tuple[Episode, ...]:
        """The last ten episodes that were drawn from a refitted distribution, or fewer."""
        return self.phase(Phase.FINE_TUNE)[-LAST:]


def read_json(path: Path) -> Mapping[str, Any] | None:
    """Read one JSON object.

    Returns:
        The object, or None when the file does not exist.

    Raises:
        RecordingError: Too large, not JSON or not an object.
    """
    if not path.exists():
        return None
    if path.stat().st_size > LARGEST_JSON:
        raise RecordingError(
            f'{path.name} is larger than {LARGEST_JSON} bytes, so the session did not write it; '
            'put the original back or delete it.'
        )
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordingError(
            f'{path.name} cannot be read as JSON ({error}); put the original back or delete it.'
        ) from error
    if not isinstance(content, dict):
        raise RecordingError(
            f'{path.name} must hold a JSON object, got {type(content).__name__}; '
            'put the original back or delete it.'
        )
    return content
