# SPDX-License-Identifier: Apache-2.0
"""Which policy is deployed: one that beats the constant mean on left-out elites, or that mean.

The error of a policy on an elite is that of the same policy trained without it. Ten elites are
few, so this says little about small differences; it keeps out what only looks clever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deft_cem.policies.elite_mean import EliteMean
from deft_cem.policies.interface import PolicyFit, PolicyMethod, PracticeData
from deft_cem.policies.settings import AUTO, PolicySettings
from deft_core.errors import TrainingError


@dataclass(frozen=True, eq=False)
class Choice:
    """What is deployed, and why.

    Attributes:
        method: Way the deployed policy was made.
        fit: The deployed policy.
        constant: The mean of the elites.
        reason: One sentence.
        fits: All that was trained, by kind.
        failures: Why a candidate could not be trained, by kind.
    """

    method: PolicyMethod
    fit: PolicyFit
    constant: PolicyFit
    reason: str
    fits: Mapping[str, PolicyFit]
    failures: Mapping[str, str]

    @property
    def skill(self) -> float:
        """1 - error / error of the constant mean, of the deployed policy on left-out elites."""
        return skill(self.fit, self.constant)

    def candidates(self) -> list[dict[str, Any]]:
        """All that was tried as JSON values, best first."""
        rows: list[dict[str, Any]] = [
            {
                'kind': kind,
                'left_out_error': fit.error,
                'skill': skill(fit, self.constant),
                'better_on': int(np.sum(fit.left_out < self.constant.left_out)),
            }
            for kind, fit in sorted(self.fits.items(), key=lambda pair: pair[1].error)
        ]
        return rows + [{'kind': kind, 'failure': why} for kind, why in self.failures.items()]


def skill(fit: PolicyFit, constant: PolicyFit) -> float:
    """1 - error / error of the constant mean; 0 where all elites are alike."""
    if constant.error < 1e-12:
        return 0.0
    return 1.0 - fit.error / constant.error


def choose_policy(data: PracticeData, settings: PolicySettings, seed: int) -> Choice:
    """Train what the settings ask for and decide what is deployed.

    Args:
        data: All rated practice.
        settings: Method, gate, candidates.
        seed: Every method draws from its own generator, so that it gives the same policy
            whatever else is tried.

    Raises:
        TrainingError: The one method asked for cannot be trained.
    """
    automatic = settings.method == AUTO
    wanted = settings.candidates if automatic else (settings.method,)
    mean = EliteMean()
    fits = {mean.kind: mean.fit(data, np.random.default_rng(seed))}
    constant = fits[mean.kind]
    failures: dict[str, str] = {}
    methods: dict[str, PolicyMethod] = {mean.kind: mean}
    for kind in wanted:
        methods[kind] = settings.make_method(kind)
        try:
            fits[kind] = methods[kind].fit(data, np.random.default_rng([seed, *kind.encode()]))
        except TrainingError as error:
            if not automatic:
                raise
            failures[kind] = str(error)
    tried = [kind for kind in fits if kind != mean.kind]
    best = min(tried, key=lambda kind: fits[kind].error, default=mean.kind)
    beats = fits[best].error < constant.error
    use = best if beats or not (settings.gate or automatic) else mean.kind
    reason = _reason(settings, best, use, fits)
    return Choice(methods[use], fits[use], constant, reason, fits, failures)


def _reason(settings: PolicySettings, best: str, use: str, fits: Mapping[str, PolicyFit]) -> str:
    """Why `use` is deployed, in one sentence."""
    if best == EliteMean.kind:
        asked = settings.method == EliteMean.kind
        return 'elite_mean was asked for' if asked else 'no candidate could be trained'
    among = f', the best of {len(fits) - 1},' if settings.method == AUTO else ''
    pair = (
        f'{best}{among} predicts left-out elites with error {fits[best].error:.3f}, '
        f'their mean with {fits[EliteMean.kind].error:.3f}'
    )
    if use != best:
        return f'{pair}; so the mean is deployed'
    return pair if fits[best].error < fits[EliteMean.kind].error else f'{pair}; the gate is off'
