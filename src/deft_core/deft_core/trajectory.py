# SPDX-License-Identifier: Apache-2.0
"""The post-grasp trajectory: wrist displacements of one human demonstration (section 3.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deft_core.configuration import bounds, build
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.files import read_json, write_atomically
from deft_core.frames import BASE_FRAME
from deft_core.rotations import matrices_from_rotation_vectors
from deft_core.validation import FloatArray, finite_array

TRAJECTORY_STEPS: Final = 40
_SCHEMA: Final = 'deft_wrist_trajectory/1'


@dataclass(frozen=True)
class _Document:
    """What the file holds; see `WristTrajectory`."""

    schema: str
    frame_id: str
    rate_hz: float
    source: str
    translations_m: tuple[tuple[float, float, float], ...] = field(metadata=bounds(-2.0, 2.0, 'm'))
    rotation_vectors_rad: tuple[tuple[float, float, float], ...] = field(
        metadata=bounds(-6.2832, 6.2832, 'rad')
    )


@dataclass(frozen=True, eq=False)
class WristTrajectory:
    """Displacements between neighbouring wrist poses, replayed after the grasp.

    Step i moves p to p + translations[i] and R to exp(rotation_vectors[i]) R; both are
    expressed in the axes of `frame_id`, so the same file serves every grasp.
    """

    translations: FloatArray  # shape (n, 3) [m]
    rotation_vectors: FloatArray  # shape (n, 3) [rad]
    rate: float  # displacements per second [Hz]
    source: str  # how the demonstration was made
    frame_id: str = BASE_FRAME  # frame whose axes the numbers are expressed in

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        translations = finite_array('translations', self.translations, (-1, 3))
        vectors = finite_array('rotation vectors', self.rotation_vectors, (len(translations), 3))
        if not 0.1 <= self.rate <= 1000.0:
            raise InvalidInputError(f'Trajectory rate must be 0.1 to 1000 Hz, got {self.rate}.')
        object.__setattr__(self, 'translations', translations)
        object.__setattr__(self, 'rotation_vectors', vectors)

    def __len__(self) -> int:
        """Number of displacements; 40 in the paper."""
        return len(self.translations)

    def poses(
        self, rotation: FloatArray, position: FloatArray
    ) -> list[tuple[FloatArray, FloatArray]]:
        """Poses (rotation (3, 3), position (3,) in m) after each displacement.

        Args:
            rotation: Rotation at the grasp in `frame_id`. Shape (3, 3).
            position: Position at the grasp in `frame_id`. Shape (3,). [m].
        """
        poses = []
        turns = matrices_from_rotation_vectors(self.rotation_vectors)
        for step, turn in zip(self.translations, turns, strict=True):
            position = position + step
            rotation = turn @ rotation
            poses.append((rotation, position))
        return poses

    def save(self, path: Path) -> None:
        """Write the trajectory as JSON."""
        document = {
            'schema': _SCHEMA,
            'frame_id': self.frame_id,
            'rate_hz': self.rate,
            'source': self.source,
            'translations_m': self.translations.round(6).tolist(),
            'rotation_vectors_rad': self.rotation_vectors.round(6).tolist(),
        }
        write_atomically(path, json.dumps(document, indent=1) + '\n')

    @classmethod
    def load(cls, path: Path) -> WristTrajectory:
        """Read a trajectory file.

        Raises:
            ConfigurationError: The file is missing, too large, not JSON or of another schema.
        """
        values = read_json(path)
        if values.get('schema') != _SCHEMA:
            raise ConfigurationError(f'{path} is not a trajectory file of schema {_SCHEMA!r}.')
        document = build(_Document, values, str(path))
        try:
            return cls(
                translations=finite_array('translations', document.translations_m, (-1, 3)),
                rotation_vectors=finite_array(
                    'rotation vectors', document.rotation_vectors_rad, (-1, 3)
                ),
                rate=document.rate_hz,
                source=document.source,
                frame_id=document.frame_id,
            )
        except InvalidInputError as error:
            raise ConfigurationError(f'{path}: {error}') from error
