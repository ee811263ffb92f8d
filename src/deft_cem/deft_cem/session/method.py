# SPDX-License-Identifier: Apache-2.0
"""The method of the paper and its two baselines (section 5, Table 2) as modes of a session."""

from __future__ import annotations

from enum import Enum

from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError


class Method(Enum):
    """What a session does with the prior; values as in the launch argument `method`.

    - DEFT practises from the affordance prior, trains the policy, tries both on equal scenes.
    - AFFORDANCE_ONLY does not practise: it only tries the prior.
    - REAL_WORLD_ONLY does what DEFT does, from the heuristic prior (box centre, random rotation,
      half-closed hand).
    """

    DEFT = 'deft'
    AFFORDANCE_ONLY = 'affordance_only'
    REAL_WORLD_ONLY = 'real_world_only'

    @classmethod
    def parse(cls, name: str) -> Method:
        """The method of that name.

        Raises:
            ConfigurationError: There is none.
        """
        for method in cls:
            if method.value == name:
                return method
        known = [method.value for method in cls]
        raise ConfigurationError(f'there is no method {name!r}; {nearest(name, known)}')

    @property
    def practises(self) -> bool:
        """Whether there are practice episodes and a policy."""
        return self is not Method.AFFORDANCE_ONLY

    def choose_predictor(self, wish: str) -> str:
        """Name of the grasp predictor; empty for the one of the affordance node.

        Args:
            wish: Name that was configured; empty without a wish.

        Raises:
            ConfigurationError: The wish contradicts the method.
        """
        if self is not Method.REAL_WORLD_ONLY:
            return wish
        if wish not in ('', 'heuristic'):
            raise ConfigurationError(
                f'the predictor is {wish!r}, but the method {self.value} has no other than '
                "'heuristic'; leave the predictor empty"
            )
        return 'heuristic'
