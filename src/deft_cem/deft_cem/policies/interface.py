# SPDX-License-Identifier: Apache-2.0
"""What every policy is trained on, what training gives, and what a trained one answers.

Residuals and grasps are in units of the first spread of practice (Table 4), so that all 22
parameters count alike; `deft_cem.policies.policy` turns them into metres and radians.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from deft_core.errors import TrainingError
from deft_core.grasp import GRASP_DIMENSION

FloatArray = npt.NDArray[np.float64]
MINIMUM_ELITES: Final = 3


@dataclass(frozen=True, eq=False)
class PracticeData:
    """All rated practice episodes as tables, n rows.

    Attributes:
        condition: c of every episode. Shape (n, c).
        prior: xi over the first spread. Shape (n, 22).
        residual: epsilon over the first spread. Shape (n, 22).
        reward: Shape (n,), 0..1.
        elites: Rows of the best episodes, best first. Shape (e,).
        euler_period: A full turn over the first spread of each wrist angle. Shape (3,).
    """

    condition: FloatArray
    prior: FloatArray
    residual: FloatArray
    reward: FloatArray
    elites: npt.NDArray[np.intp]
    euler_period: FloatArray

    def __post_init__(self) -> None:
        """Refuse tables that do not fit each other.

        Raises:
            TrainingError: Wrong shapes, too few elites, or numbers that are not finite.
        """
        count = len(self.reward)
        shapes = {
            'condition': (count, self.condition.shape[-1]),
            'prior': (count, GRASP_DIMENSION),
            'residual': (count, GRASP_DIMENSION),
            'reward': (count,),
            'euler_period': (3,),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or not np.all(np.isfinite(values)):
                raise TrainingError(
                    f'{name} must be finite numbers of shape {shape}, got shape {values.shape}'
                )
        # One less than training asks for, since every elite is left out once.
        if len(self.elites) < MINIMUM_ELITES - 1:
            raise TrainingError(
                f'a policy needs at least {MINIMUM_ELITES} elite episodes, got {len(self.elites)}'
            )

    @property
    def elite_condition(self) -> FloatArray:
        """C of the elites. Shape (e, c)."""
        return self.condition[self.elites]

    @property
    def elite_residual(self) -> FloatArray:
        """Omega, the residuals of the elites. Shape (e, 22)."""
        return self.residual[self.elites]

    def seen_by(self, members: FloatArray) -> FloatArray:
        """Rows of practice that a network may see, from the elites it may see.

        Args:
            members: 1 where member m sees elite e, else 0. Shape (m, e).

        Returns:
            Shape (m, n). Episodes that are no elites are seen by all.
        """
        seen = np.ones((len(members), len(self.reward)))
        seen[:, self.elites] = members
        return seen

    def without(self, row: int) -> PracticeData:
        """The same practice without one episode, which is left out of the elites too.

        Args:
            row: Row of the episode.
        """
        kept = np.delete(np.arange(len(self.reward)), row)
        elites = self.elites[self.elites != row]
        return replace(
            self,
            condition=self.condition[kept],
            prior=self.prior[kept],
            residual=self.residual[kept],
            reward=self.reward[kept],
            elites=np.searchsorted(kept, elites),
        )


class ResidualModel(Protocol):
    """A trained policy without eyes: from condition to residual."""

    def predict(
        self, condition: FloatArray, prior: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Delta over the first spread.

        Args:
            condition: c of the scene. Shape (c,).
            prior: xi over the first spread. Shape (22,).
            rng: For a policy that samples.

        Returns:
            Shape (22,).
        """
        ...

    def tensors(self) -> Mapping[str, FloatArray]:
        """Everything that was learned, by name."""
        ...


@dataclass(frozen=True, eq=False)
class PolicyFit:
    """A trained policy and how well it predicts elites it has not seen.

    Attributes:
        model: Trained on all elites.
        left_out: Per elite |delta - prediction|^2 / 22 by a policy that did not see it, expected
            over what the policy samples. Shape (e,). [first variance]
    """

    model: ResidualModel
    left_out: FloatArray

    @property
    def error(self) -> float:
        """Mean of `left_out`. [first variance]."""
        return float(self.left_out.mean())


class PolicyMethod(Protocol):
    """A way to make a policy, with its settings."""

    @property
    def kind(self) -> str:
        """Name in settings and files."""
        ...

    @property
    def settings(self) -> Any:
        """A frozen dataclass of plain values; stored with the policy."""
        ...

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train, and measure on left-out elites.

        Args:
            data: All rated practice.
            rng: Of initial weights and noise; equal generators give equal policies.

        Raises:
            TrainingError: Training diverged.
        """
        ...

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor of a policy with a condition of that length."""
        ...

    def restore(self, tensors: Mapping[str, FloatArray]) -> ResidualModel:
        """The policy that gave these tensors; names, shapes and types are checked before."""
        ...
