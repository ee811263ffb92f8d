# SPDX-License-Identifier: Apache-2.0
"""What a run folder holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deft_bag.reader import BagReader
from deft_core.episode import Episode, Phase
from deft_core.errors import ConfigurationError, RecordingError
from deft_core.files import read_json
from deft_report.pictures import reduced

BAG = 'bag'
SUMMARY = 'summary.json'
POLICY = 'policy.json'
LAST = 10
UNKNOWN = 'not recorded'
# A summary is a few kilobytes; more is not one of ours.
LARGEST_JSON = 4 * 2**20
IMAGE_WIDTH = 320  # [pixel] of the images on the page
MOST_VIDEO = 100e6  # [byte] of a run; sixty episodes have 15


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One session, complete or not: at least one episode, in the order they were run.

    `damaged` has a sentence for each file of the bag that ends early.
    """

    name: str
    episodes: tuple[Episode, ...]
    summary: Mapping[str, Any] | None
    policy: Mapping[str, Any] | None
    damaged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a run without episodes and put the others in order."""
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
    def baseline(self) -> str:
        """DEFT or which of the paper's baselines it was, as the summary names it."""
        return str((self.summary or {}).get('method', UNKNOWN))

    @property
    def practice(self) -> tuple[Episode, ...]:
        """Warm-up and fine-tuning, in order."""
        return self.phase(Phase.WARM_UP, Phase.FINE_TUNE)

    @property
    def last_tuned(self) -> tuple[Episode, ...]:
        """The last ten episodes that were drawn from a refitted distribution, or fewer."""
        return self.phase(Phase.FINE_TUNE)[-LAST:]


def load_run(run: Path, *, with_pictures: bool = True) -> RunRecord:
    """Read a run folder; summary and policy may be missing.

    Images are reduced to what a page shows, so that a run takes little memory.

    Raises:
        RecordingError: No such folder, no bag, an empty or unreadable bag, damaged JSON.
    """
    if not run.is_dir():
        raise RecordingError(
            f'There is no run folder {run}; give the folder of a session, as in '
            '`deft report runs/NAME`.'
        )
    reader = BagReader(run / BAG)
    damaged = reader.damaged
    if with_pictures:
        episodes = tuple(_for_page(reader.episodes(), damaged))
    else:
        episodes = tuple(reader.episodes(pictures=()))
    return RunRecord(
        name=run.resolve().name,
        episodes=episodes,
        summary=_json(run / SUMMARY),
        policy=_json(run / POLICY),
        damaged=tuple(damaged),
    )


def _for_page(episodes: Iterable[Episode], notes: list[str]) -> Iterator[Episode]:
    """Episodes with images as they are shown; what is left out is noted."""
    held, left_out = 0, 0
    for episode in episodes:
        video = episode.rollout_video
        size = sum(len(frame.jpeg) for frame in video)
        if held + size > MOST_VIDEO:
            video, size, left_out = (), 0, left_out + 1
        held += size
        yield replace(
            episode,
            first_image=reduced(episode.first_image, IMAGE_WIDTH),
            last_image=reduced(episode.last_image, IMAGE_WIDTH),
            rollout_video=video,
        )
    if left_out:
        notes.append(
            f'Episodes without their video: {left_out}; all videos together are larger than '
            f'{MOST_VIDEO / 1e6:.0f} MB.'
        )


def rewards(episodes: Sequence[Episode]) -> list[float]:
    """The rewards that were given, in order."""
    return [episode.reward for episode in episodes if episode.reward is not None]


def _json(path: Path) -> Mapping[str, Any] | None:
    """One JSON object, or None where there is no file; raises RecordingError."""
    try:
        return read_json(path, LARGEST_JSON) if path.exists() else None
    except ConfigurationError as error:
        raise RecordingError(str(error)) from error
