# SPDX-License-Identifier: Apache-2.0
"""What the session asks of an optimiser of residuals (ask, tell, recommend, save, resume)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """One proposed residual and the distribution it was drawn from.

    Attributes:
        index: Number of the proposal, from 0; a withdrawn proposal keeps its number.
        residual: Shape (d,). Offset from the prior. [m | rad | rad]
        mean: Shape (d,). Mean of the distribution it was drawn from. [m | rad | rad]
        std: Shape (d,). Standard deviation of that distribution. [m | rad | rad]
    """

    index: int
    residual: FloatArray
    mean: FloatArray
    std: FloatArray


class ResidualOptimiser(Protocol):
    """Ask/tell optimiser: control is inverted so that a real episode fits in between."""

    @property
    def mean(self) -> FloatArray:
        """Mean of the distribution that is sampled now. Shape (d,). [m | rad | rad]."""
        ...

    @property
    def std(self) -> FloatArray:
        """Its standard deviation, per coordinate. Shape (d,). [m | rad | rad]."""
        ...

    @property
    def pending(self) -> Sample | None:
        """The proposal that waits for its reward, if any."""
        ...

    @property
    def rated_count(self) -> int:
        """Number of episodes that have a reward (k of Algorithm 1)."""
        ...

    @property
    def recommendation(self) -> FloatArray:
        """The residual to deploy. Shape (d,). [m | rad | rad]."""
        ...

    def ask(self) -> Sample:
        """Draw the next proposal."""
        ...

    def tell(self, index: int, reward: float) -> None:
        """Give the pending proposal its reward in 0..1."""
        ...

    def withdraw(self, index: int) -> None:
        """Take the pending proposal back: it was never tried."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit, as JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        ...
