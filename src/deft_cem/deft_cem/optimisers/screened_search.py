# SPDX-License-Identifier: Apache-2.0
"""Many candidates from a Gaussian, of which a Gaussian process picks the one that is tried."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deft_cem.optimisers.gaussian_process import BowlProcess
from deft_cem.optimisers.gaussian_search import GaussianSearch
from deft_cem.optimisers.interface import FloatArray
from deft_cem.optimisers.search_basis import DEFAULT_DAMPING
from deft_cem.optimisers.standardised import standardised


@dataclass(frozen=True)
class ScreeningSettings:
    """What may be set of the screening.

    Attributes:
        candidates: Residuals that are drawn and screened for one episode.
        optimism: Posterior standard deviations that are added to the posterior mean.
        length_scale: Of a group of n coordinates, in units of sqrt(n).
        noise: Standard deviation of a reward over that of the signal.
        bowl: q, fall of the standardised reward at |y|^2 = d in the prior mean.
        memory: The process sees at most this many of the latest episodes.
        limit: Largest residual. [first standard deviation]
    """

    candidates: int = field(default=200, metadata={'minimum': 1, 'maximum': 100_000})
    optimism: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    length_scale: float = field(default=1.5, metadata={'minimum': 0.01, 'maximum': 100.0})
    noise: float = field(default=0.3, metadata={'minimum': 0.01, 'maximum': 100.0})
    bowl: float = field(default=1.0, metadata={'minimum': 0.0, 'maximum': 100.0})
    memory: int = field(default=120, metadata={'minimum': 10, 'maximum': 1000})
    limit: float = field(default=4.0, metadata={'minimum': 0.1, 'maximum': 20.0})


class ScreenedSearch(GaussianSearch):
    """Draws candidates from N(m, diag(s^2)) and tries the one of largest mean + optimism * std.

    `Sample.mean` and `Sample.std` describe the distribution of the candidates. The process is a
    function of the rated episodes alone, so nothing of it has to be saved.
    """

    def __init__(
        self,
        initial_std: FloatArray,
        rng: np.random.Generator,
        settings: ScreeningSettings,
        *,
        warm_up: int,
        basis: str,
        groups: tuple[int, ...],
        damping: float = DEFAULT_DAMPING,
    ) -> None:
        """Start from y ~ N(0, I).

        Args:
            initial_std: Shape (d,). Spread per parameter, all > 0. [m | rad | rad]
            rng: Source of the samples, a PCG64.
            settings: Of the screening.
            warm_up: M.
            basis: Search coordinates, 'parameters' or 'synergies'.
            groups: Sizes of the groups of coordinates that share a length scale, in order; what
                lies behind the last group is not seen by the process.
            damping: Of finger directions beyond synergies.

        Raises:
            ConfigurationError: A number the method cannot run with.
            InvalidInputError: A spread that is not positive, or another kind of generator.
        """
        super().__init__(
            initial_std, rng, warm_up=warm_up, limit=settings.limit, basis=basis, damping=damping
        )
        self._screening = settings
        sizes = np.repeat(groups, groups)
        self._length_scales = settings.length_scale * np.sqrt(sizes)

    def _process(self, residuals: FloatArray, rewards: FloatArray) -> BowlProcess:
        """The process after these episodes, residuals (k, d) and rewards (k,)."""
        memory = self._screening.memory
        y = self._basis.to_search(residuals[-memory:])
        return BowlProcess(
            y[:, : self._length_scales.size],
            standardised(rewards[-memory:]),
            length_scales=self._length_scales,
            noise=self._screening.noise,
            bowl=self._screening.bowl,
        )

    def _draw(self) -> FloatArray:
        if self.rated_count < self._warm_up:
            return super()._draw()
        process = self._process(*self._rated())
        noise = self._rng.standard_normal((self._screening.candidates, self.dimension))
        candidates = self._search_mean + self._search_std * noise
        mean, std = process.predict(candidates[:, : self._length_scales.size])
        promise = mean + self._screening.optimism * std
        return self._basis.to_residual(candidates[int(np.argmax(promise))])
