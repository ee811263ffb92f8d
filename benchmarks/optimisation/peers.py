# SPDX-License-Identifier: Apache-2.0
"""Other people's optimisers, through their own libraries, with the same ask and tell.

They are for comparison only and are not installed by `make setup`; requirements/benchmarks.txt
names them. All work in z, residuals in units of the first spread, and all but CMA-ES start with
the ten draws from N(0, I) that every method starts with.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

WARM_UP: Final = 10
BOX: Final = 3.0  # box methods search within this many first standard deviations
POPULATION: Final = 10  # of CMA-ES; 6 did worse
FIT_STEPS, ACQUISITION_STEPS = 50, 50
RESTARTS, RAW_SAMPLES = 2, 64
CANDIDATES: Final = 1000  # of a Thompson draw


class Peer(Protocol):
    """What the benchmark needs of a method."""

    def ask(self) -> FloatArray:
        """Next z. Shape (d,)."""
        ...

    def tell(self, reward: float) -> None:
        """Rate the last z."""
        ...

    @property
    def recommendation(self) -> FloatArray:
        """The z to deploy. Shape (d,)."""
        ...


class CmaEvolutionStrategy:
    """CMA-ES of the package `cmaes`, started at N(0, I); recommends its mean."""

    def __init__(self, dimension: int, seed: int) -> None:
        """Start.

        Args:
            dimension: Of z.
            seed: Of its draws.
        """
        from cmaes import CMA  # noqa: PLC0415 - only here when it is compared

        self._search = CMA(
            mean=np.zeros(dimension), sigma=1.0, population_size=POPULATION, seed=seed
        )
        self._z = np.zeros(dimension)
        self._generation: list[tuple[FloatArray, float]] = []

    def ask(self) -> FloatArray:
        """Next member of the generation. Shape (d,)."""
        self._z = np.asarray(self._search.ask(), dtype=np.float64)
        return self._z

    def tell(self, reward: float) -> None:
        """Rate it; a full generation moves the mean."""
        self._generation.append((self._z, -reward))  # it minimises
        if len(self._generation) == POPULATION:
            self._search.tell(self._generation)
            self._generation = []

    @property
    def recommendation(self) -> FloatArray:
        """Mean of the search distribution. Shape (d,)."""
        return np.asarray(self._search.mean, dtype=np.float64)


class _Bayesian:
    """Shared by the methods of BoTorch: data, its standard process, and what it recommends.

    The recommendation is the tried z with the highest posterior mean.
    """

    def __init__(self, dimension: int, seed: int) -> None:
        """Start.

        Args:
            dimension: Of z.
            seed: Of its draws.
        """
        import torch  # noqa: PLC0415

        self._torch = torch
        torch.manual_seed(seed)
        self._rng = np.random.default_rng([seed, 1])
        self._dimension = dimension
        self._x: list[FloatArray] = []  # in the unit cube
        self._rewards: list[float] = []
        self._model: Any = None

    def ask(self) -> FloatArray:
        """Next z. Shape (d,)."""
        if len(self._x) < WARM_UP:
            z = np.clip(self._rng.standard_normal(self._dimension), -BOX, BOX)
            self._x.append((z + BOX) / (2.0 * BOX))
        else:
            self._x.append(self._propose(self._fitted()))
        return self._x[-1] * 2.0 * BOX - BOX

    def tell(self, reward: float) -> None:
        """Rate it."""
        self._rewards.append(reward)
        self._model = None

    @property
    def recommendation(self) -> FloatArray:
        """Tried z with the highest posterior mean; zero during the warm-up. Shape (d,)."""
        if len(self._rewards) < WARM_UP:
            return np.zeros(self._dimension)
        model = self._fitted()
        with self._torch.no_grad():
            mean = model.posterior(self._tensor(self._x)).mean.squeeze(-1)
        return self._x[int(mean.argmax())] * 2.0 * BOX - BOX

    def _tensor(self, rows: list[FloatArray] | list[float]) -> Any:
        return self._torch.tensor(np.array(rows), dtype=self._torch.float64)

    def _fitted(self) -> Any:
        """BoTorch's default process (Matern or squared exponential, its own priors), fitted."""
        if self._model is None:
            from botorch.fit import fit_gpytorch_mll  # noqa: PLC0415
            from botorch.models import SingleTaskGP  # noqa: PLC0415
            from gpytorch.mlls import ExactMarginalLogLikelihood  # noqa: PLC0415

            count = len(self._rewards)
            model = SingleTaskGP(
                self._tensor(self._x[:count]), self._tensor(self._rewards).unsqueeze(-1)
            )
            with warnings.catch_warnings():
                warnings.simplefilter(
                    'ignore'
                )  # constant scores: "input data is not standardised"
                fit_gpytorch_mll(
                    ExactMarginalLogLikelihood(model.likelihood, model),
                    optimizer_kwargs={'options': {'maxiter': FIT_STEPS}},
                )
            self._model = model
        return self._model

    def _propose(self, model: Any) -> FloatArray:
        raise NotImplementedError


class BayesianOptimisation(_Bayesian):
    """GP-BO with noisy log expected improvement (BoTorch), box of 3 standard deviations."""

    def _propose(self, model: Any) -> FloatArray:
        from botorch.acquisition import qLogNoisyExpectedImprovement  # noqa: PLC0415
        from botorch.optim import optimize_acqf  # noqa: PLC0415
        from botorch.sampling import SobolQMCNormalSampler  # noqa: PLC0415

        torch = self._torch
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            acquisition = qLogNoisyExpectedImprovement(
                model,
                self._tensor(self._x),
                sampler=SobolQMCNormalSampler(torch.Size([64]), seed=len(self._x)),
            )
            best, _ = optimize_acqf(
                acquisition,
                bounds=torch.stack([torch.zeros(self._dimension), torch.ones(self._dimension)]).to(
                    torch.float64
                ),
                q=1,
                num_restarts=RESTARTS,
                raw_samples=RAW_SAMPLES,
                options={'maxiter': ACQUISITION_STEPS},
            )
        return np.asarray(best.squeeze(0).numpy(), dtype=np.float64)


class TrustRegionBayesianOptimisation(_Bayesian):
    """TuRBO-1 as BoTorch's tutorial assembles it: its process and its Thompson sampling.

    Side 0.8, doubled after 3 successes and halved after max(4, d) failures in a row, between
    0.5^7 and 1.6; at most 20 coordinates are perturbed at a time, on average (Eriksson et al.,
    Scalable Global Optimization via Local Bayesian Optimization, NeurIPS 2019).
    """

    def __init__(self, dimension: int, seed: int) -> None:
        """Start with a region around the best warm-up episode."""
        super().__init__(dimension, seed)
        self._side = 0.8
        self._successes = self._failures = 0
        self._best = -math.inf

    def tell(self, reward: float) -> None:
        """Rate the last z and grow or shrink the region."""
        super().tell(reward)
        count = len(self._rewards)
        better = reward > self._best + 1e-3 * abs(self._best) or not math.isfinite(self._best)
        self._best = max(self._best, reward)
        if count <= WARM_UP:
            return
        self._successes, self._failures = (
            (self._successes + 1, 0) if better else (0, self._failures + 1)
        )
        if self._successes == 3:
            self._side, self._successes = min(2.0 * self._side, 1.6), 0
        elif self._failures == max(4, self._dimension):
            self._side, self._failures = self._side / 2.0, 0
        if self._side < 0.5**7:
            self._side, self._failures = 0.8, 0

    def _propose(self, model: Any) -> FloatArray:
        from botorch.generation import MaxPosteriorSampling  # noqa: PLC0415

        torch, dimension = self._torch, self._dimension
        centre = self._x[int(np.argmax(self._rewards))]
        kernel = getattr(model.covar_module, 'base_kernel', model.covar_module)
        scales = kernel.lengthscale.squeeze().detach().numpy()
        weights = scales / np.exp(np.mean(np.log(scales)))
        low = np.clip(centre - weights * self._side / 2.0, 0.0, 1.0)
        high = np.clip(centre + weights * self._side / 2.0, 0.0, 1.0)
        drawn = torch.quasirandom.SobolEngine(
            dimension, scramble=True, seed=int(self._rng.integers(2**31))
        ).draw(CANDIDATES, dtype=torch.float64)
        mask = self._rng.uniform(size=(CANDIDATES, dimension)) <= min(1.0, 20.0 / dimension)
        mask[~mask.any(axis=1), 0] = True
        candidates = np.where(mask, low + (high - low) * drawn.numpy(), centre)
        with torch.no_grad():
            chosen = MaxPosteriorSampling(model, replacement=False)(
                torch.tensor(candidates, dtype=torch.float64), num_samples=1
            )
        return np.asarray(chosen.squeeze(0).numpy(), dtype=np.float64)


# Name to class and the package it needs.
PEERS: Final[Mapping[str, tuple[Callable[[int, int], Peer], str]]] = MappingProxyType(
    {
        'cma_es': (CmaEvolutionStrategy, 'cmaes'),
        'gp_bayesian_optimisation': (BayesianOptimisation, 'botorch'),
        'turbo_1': (TrustRegionBayesianOptimisation, 'botorch'),
    }
)


def missing_packages() -> list[str]:
    """Packages of peers that are not installed, by name."""
    needed = {package for _, package in PEERS.values()}
    return sorted(name for name in needed if importlib.util.find_spec(name) is None)
