# SPDX-License-Identifier: Apache-2.0
"""What makes two launches the same session: only then does the second go on with the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deft_cem.session.method import Method


@dataclass(frozen=True)
class SessionIdentity:
    """What may not change when a session is resumed.

    Attributes:
        task: Name of the task.
        seed: Seed of all random choices; up to 64 bits.
        method: DEFT or one of its baselines.
        predictor: Grasp predictor that is asked for; empty for that of the affordance node.
        configuration: Learning settings, JSON values.
    """

    task: str
    seed: int
    method: Method
    predictor: str
    configuration: Mapping[str, Any]

    def differences(self, other: SessionIdentity) -> list[str]:
        """What differs, one `name is here and was there` each; empty where nothing does.

        Args:
            other: What was stored.
        """
        found = [
            f'{name} is {mine!r} and was {stored!r}'
            for name, mine, stored in (
                ('task', self.task, other.task),
                ('seed', self.seed, other.seed),
                ('method', self.method.value, other.method.value),
                ('predictor', self.predictor, other.predictor),
            )
            if mine != stored
        ]
        return found + list(_differences('', self.configuration, other.configuration))


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
