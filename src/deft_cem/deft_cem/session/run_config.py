# SPDX-License-Identifier: Apache-2.0
"""What makes two launches the same session: only then does the second go on with the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from deft_core.configuration import bounds, nearest
from deft_core.errors import ConfigurationError


class Baseline(Enum):
    """DEFT or one of its two baselines (section 5, Table 2), as in the launch argument `method`.

    - DEFT practises from the affordance prior, trains the policy, tries both on equal scenes.
    - AFFORDANCE_ONLY does not practise: it only tries the prior.
    - REAL_WORLD_ONLY does what DEFT does, from the heuristic prior (box centre, random rotation,
      half-closed hand).
    """

    DEFT = 'deft'
    AFFORDANCE_ONLY = 'affordance_only'
    REAL_WORLD_ONLY = 'real_world_only'

    @classmethod
    def parse(cls, name: str) -> Baseline:
        """The one of that name.

        Raises:
            ConfigurationError: There is none.
        """
        for baseline in cls:
            if baseline.value == name:
                return baseline
        known = [baseline.value for baseline in cls]
        raise ConfigurationError(f'there is no baseline {name!r}; {nearest(name, known)}')

    @property
    def practises(self) -> bool:
        """Whether there are practice episodes and a policy."""
        return self is not Baseline.AFFORDANCE_ONLY

    def choose_predictor(self, wish: str) -> str:
        """Name of the grasp predictor; empty for the one of the affordance node.

        Raises:
            ConfigurationError: The wish contradicts the baseline.
        """
        if self is not Baseline.REAL_WORLD_ONLY:
            return wish
        if wish not in ('', 'heuristic'):
            raise ConfigurationError(
                f'the predictor is {wish!r}, but the baseline {self.value} has no other than '
                "'heuristic'; leave the predictor empty"
            )
        return 'heuristic'


@dataclass(frozen=True)
class RunConfig:
    """What may not change when a session is resumed."""

    task: str
    # seed of all random choices
    seed: int = field(metadata=bounds(0, 2**64 - 1))
    baseline: Baseline
    predictor: str  # grasp predictor that is asked for; empty for that of the affordance node
    settings: Mapping[str, Any]

    def differences(self, other: RunConfig) -> list[str]:
        """What differs, one `name is here and was there` each; empty where nothing does."""
        found = [
            f'{name} is {mine!r} and was {stored!r}'
            for name, mine, stored in (
                ('task', self.task, other.task),
                ('seed', self.seed, other.seed),
                ('method', self.baseline.value, other.baseline.value),
                ('predictor', self.predictor, other.predictor),
            )
            if mine != stored
        ]
        return found + list(_differences('', self.settings, other.settings))


def _differences(where: str, mine: Any, stored: Any) -> Iterator[str]:
    """Entries of two trees of JSON values that differ, by their dotted names."""
    if isinstance(mine, Mapping) and isinstance(stored, Mapping):
        for name in sorted(mine.keys() | stored.keys()):
            path = f'{where}.{name}' if where else name
            yield from _differences(path, mine.get(name), stored.get(name))
    elif isinstance(mine, list | tuple) and isinstance(stored, list | tuple):
        if list(mine) != list(stored):
            yield f'{where} is {list(mine)!r} and was {list(stored)!r}'
    elif mine != stored:
        yield f'{where} is {mine!r} and was {stored!r}'
