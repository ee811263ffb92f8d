# SPDX-License-Identifier: Apache-2.0
"""The practice episodes a policy is trained on, from one or more sessions.

A residual means something only for the task, the camera calibration and the frame it was tried
with. Episodes that differ in one of these are refused by name; hands are told apart earlier,
when a record is decoded, by the names of their joints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from deft_bag.reader import BagReader, bag_of
from deft_core.episode import Episode, Phase
from deft_core.errors import RecordingError, TrainingError

PRACTICE: Final = frozenset({Phase.WARM_UP, Phase.FINE_TUNE})
_LARGEST: Final = 512e6  # [byte] of first images; 550 episodes with VGA, 185 with 1280 x 720
_NAMED: Final = 3  # episodes that a refusal lists before it only counts


class Dataset:
    """Rewarded practice episodes that belong together, in the order they were added."""

    def __init__(self) -> None:
        """Begin with none."""
        self._episodes: list[Episode] = []
        self._source_of: dict[str, str] = {}

    @property
    def episodes(self) -> Sequence[Episode]:
        """All episodes so far."""
        return tuple(self._episodes)

    @property
    def source(self) -> str:
        """Where they came from, in words."""
        return ', '.join(dict.fromkeys(self._source_of.values())) or 'the recording'

    def add_run(self, path: Path) -> list[str]:
        """Add the practice of a recorded session.

        Raises:
            RecordingError: There is no bag or it cannot be read.
            TrainingError: Episodes that do not fit, or that were added before.
        """
        reader = BagReader(bag_of(path))
        self.add(reader.episodes(pictures=('first_image',)), str(path))
        return reader.damaged

    def add(self, episodes: Iterable[Episode], source: str) -> None:
        """Add what is rewarded practice among some episodes, all of them or none.

        Raises:
            TrainingError: Episodes that do not fit, or that were added before.
        """
        added: list[Episode] = []
        held = sum(episode.first_image.nbytes for episode in self._episodes)
        for episode in episodes:
            if episode.phase not in PRACTICE or episode.reward is None:
                continue
            before = self._source_of.get(episode.episode_id)
            if before is not None:
                raise TrainingError(
                    f'episode {episode.episode_id} is in {before} and in {source}; '
                    'name every session once'
                )
            held += episode.first_image.nbytes
            if held > _LARGEST:
                raise TrainingError(
                    f'the first images of the practice up to {source} take more than '
                    f'{_LARGEST / 1e6:.0f} MB; train on fewer sessions, or record smaller images'
                )
            added.append(episode)
        if added:
            reference = self._episodes[0] if self._episodes else added[0]
            origin = self._source_of.get(reference.episode_id, source)
            _check_fit(added, source, reference, origin)
        self._episodes += added
        self._source_of.update((episode.episode_id, source) for episode in added)


def _check_fit(added: Sequence[Episode], source: str, reference: Episode, origin: str) -> None:
    """Refuse episodes of which task, calibration or frame is not that of the reference."""
    for name, values in (
        ('tasks', [e.task for e in (reference, *added)]),
        ('camera calibrations', [e.calibration_id for e in (reference, *added)]),
        ('frames', [e.executed.frame_id for e in (reference, *added)]),
    ):
        wrong = [
            f'{episode.episode_id} ({value})'
            for episode, value in zip(added, values[1:], strict=True)
            if value != values[0]
        ]
        if wrong:
            more = '' if len(wrong) <= _NAMED else f' and {len(wrong) - _NAMED} more'
            others = '' if source == origin else f' with {origin}'
            raise TrainingError(
                f'{source} mixes {name}{others}: {", ".join(wrong[:_NAMED])}{more} do not fit '
                f'{reference.episode_id} ({values[0]}); train on recordings of one of them'
            )


def read_dataset(runs: Sequence[Path]) -> tuple[Dataset, list[str]]:
    """Join the practice of several recorded sessions.

    Raises:
        RecordingError: There is no bag or it cannot be read.
        TrainingError: Sessions that do not fit each other, or one that is named twice.
    """
    if not runs:
        raise RecordingError('no run was named; name at least one run folder')
    dataset = Dataset()
    damaged = [sentence for run in runs for sentence in dataset.add_run(run)]
    return dataset, damaged
