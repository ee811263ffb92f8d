# SPDX-License-Identifier: Apache-2.0
"""What every policy is trained on, what training gives, and how it is asked.

Residuals and grasps are in units of the first spread of practice (Table 4), so that all 22
parameters count alike; `deft_cem.policies.policy` turns them into metres and radians.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from deft_core.errors import TrainingError
from deft_core.grasp import GRASP_DIMENSION
from deft_core.validation import FloatArray

Tensors = Mapping[str, FloatArray]
MINIMUM_ELITES: Final = 3


@dataclass(frozen=True, eq=False)
class PracticeData:
    """All rewarded practice episodes as tables of n rows, in order of trial.

    Attributes:
        condition: c of every episode. Shape (n, c).
        prior: xi over the first spread. Shape (n, 22).
        residual: epsilon over the first spread. Shape (n, 22).
        reward: Shape (n,), 0..1.
        elites: Rows of the best episodes, best first. Shape (e,).
        euler_period: A full turn over the first spread of each wrist angle. Shape (3,).
        recommend: What the optimiser of the practice makes of residuals (k, 22) and rewards (k,):
            the residual it recommends, of shape (22,).
    """

    condition: FloatArray
    prior: FloatArray
    residual: FloatArray
    reward: FloatArray
    elites: npt.NDArray[np.intp]
    euler_period: FloatArray
    recommend: Callable[[FloatArray, FloatArray], FloatArray]

    def __post_init__(self) -> None:
        """Refuse wrong shapes, too few elites, and numbers that are not finite."""
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
        if len(self.elites) < MINIMUM_ELITES:
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


@dataclass(frozen=True, eq=False)
class PolicyFit:
    """What was learned from all elites, and how well it predicts elites it has not seen.

    `left_out` is per elite |delta - prediction|^2 / 22 by a policy that did not see it, expected
    over what the policy samples. Shape (e,). [first variance]
    """

    tensors: Tensors
    left_out: FloatArray

    @property
    def error(self) -> float:
        """Mean of `left_out`. [first variance]."""
        return float(self.left_out.mean())


class PolicyMethod(Protocol):
    """A kind of policy with its settings; what one policy has learned are tensors."""

    kind: ClassVar[str]

    @property
    def settings(self) -> Any:
        """A frozen dataclass of plain values; stored with the policy."""
        ...

    def fit(self, data: PracticeData, rng: np.random.Generator) -> PolicyFit:
        """Train, and measure on left-out elites; equal generators give equal policies.

        Raises:
            TrainingError: Training diverged.
        """
        ...

    def shapes(self, condition: int) -> dict[str, list[int]]:
        """Name and shape of every tensor of a policy with a condition of that length."""
        ...

    def predict(
        self,
        tensors: Tensors,
        condition: FloatArray,
        prior: FloatArray,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Delta (22,) for c and the prior (22,), over the first spread."""
        ...
