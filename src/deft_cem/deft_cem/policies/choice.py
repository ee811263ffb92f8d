# SPDX-License-Identifier: Apache-2.0
"""All kinds of policy by name, and which one is deployed.

The baseline is what the optimiser recommends. A conditional policy is deployed if, on elites that
it has not seen, it predicts better than the baseline and than the mean of the other elites, by
more than the standard error of the difference. (The mean counts too, since a recommendation may
rightly lie beyond the elites.) Ten elites are few, so this says little about small differences; it
keeps out what only looks clever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from deft_cem.encoders.registry import ENCODERS
from deft_cem.policies.conditional_vae import Direct, ResidualVae, VaeSettings
from deft_cem.policies.constants import EliteMean, NoSettings, Recommendation
from deft_cem.policies.interface import PolicyFit, PolicyMethod, PracticeData
from deft_cem.policies.mlp import Mlp, MlpSettings
from deft_cem.policies.transformer import Transformer, TransformerSettings
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError, TrainingError

AUTO: Final = 'auto'
# Class of the settings, class of the policy, and the entry of the learning settings.
KINDS: Final[Mapping[str, tuple[type[Any], type[Any], str]]] = {
    ResidualVae.kind: (VaeSettings, ResidualVae, 'vae'),
    Mlp.kind: (MlpSettings, Mlp, 'mlp'),
    Transformer.kind: (TransformerSettings, Transformer, 'transformer'),
    Direct.kind: (VaeSettings, Direct, 'vae'),
    EliteMean.kind: (NoSettings, EliteMean, ''),
    Recommendation.kind: (NoSettings, Recommendation, ''),
}
CONSTANTS: Final = (Recommendation.kind, EliteMean.kind)
CONDITIONAL: Final = tuple(kind for kind in KINDS if kind not in CONSTANTS)


@dataclass(frozen=True)
class PolicySettings:
    """The policy that is trained on the elites.

    Attributes:
        method: A policy by name, or 'auto' for the candidate that predicts left-out elites best.
        gate: Deploy the recommendation instead of a conditional policy that does not predict
            left-out elites better.
        candidates: What 'auto' chooses from, besides the recommendation.
        encoder: Name of the image encoder phi.
        image_components: Principal components of phi(I) in the condition.
        prior_components: Principal components of xi in the condition.
        vae: Of residual_vae, and of direct.
        mlp: Of mlp.
        transformer: Of transformer.
    """

    method: str = AUTO
    gate: bool = True
    candidates: tuple[str, ...] = CONDITIONAL
    encoder: str = 'gradient_color_1'
    image_components: int = field(default=2, metadata={'minimum': 0, 'maximum': 64})
    prior_components: int = field(default=3, metadata={'minimum': 0, 'maximum': 25})
    vae: VaeSettings = field(default_factory=VaeSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)
    transformer: TransformerSettings = field(default_factory=TransformerSettings)

    def __post_init__(self) -> None:
        """Refuse unknown names and candidates named twice."""
        for entry, name, known in (
            ('method', self.method, (*KINDS, AUTO)),
            ('encoder', self.encoder, tuple(ENCODERS)),
            *(('candidates', name, CONDITIONAL) for name in self.candidates),
        ):
            if name not in known:
                raise ConfigurationError(f'{entry}: unknown {name!r}; {nearest(name, known)}')
        if len(set(self.candidates)) < len(self.candidates):
            raise ConfigurationError(f'candidates names one twice: {", ".join(self.candidates)}')

    def make_method(self, kind: str) -> PolicyMethod:
        """A key of `KINDS` with its settings."""
        settings, method, entry = KINDS[kind]
        made: PolicyMethod = method(getattr(self, entry) if entry else settings())
        return made


@dataclass(frozen=True, eq=False)
class Choice:
    """What is deployed and why; methods, fits and failures of all that was tried, by kind."""

    kind: str
    reason: str
    methods: Mapping[str, PolicyMethod]
    fits: Mapping[str, PolicyFit]
    failures: Mapping[str, str]

    def r2(self, kind: str) -> float:
        """R^2 on left-out elites: 1 - error / error of the mean of the others."""
        mean = self.fits[EliteMean.kind].error
        return 0.0 if mean < 1e-12 else 1.0 - self.fits[kind].error / mean

    def candidates(self) -> list[dict[str, Any]]:
        """All that was tried as JSON values, best first."""
        ordered = sorted(self.fits, key=lambda kind: self.fits[kind].error)
        rows: list[dict[str, Any]] = [
            {'kind': kind, 'left_out_error': self.fits[kind].error, 'r2': self.r2(kind)}
            for kind in ordered
        ]
        return rows + [{'kind': kind, 'failure': why} for kind, why in self.failures.items()]


def choose_policy(data: PracticeData, settings: PolicySettings, seed: int) -> Choice:
    """Train what the settings ask for and decide what is deployed.

    Every method draws from its own generator: it gives the same policy whatever else is tried.

    Raises:
        TrainingError: The one method asked for cannot be trained.
    """
    automatic = settings.method == AUTO
    wanted = settings.candidates if automatic else (settings.method,)
    methods = {kind: settings.make_method(kind) for kind in dict.fromkeys((*CONSTANTS, *wanted))}
    fits: dict[str, PolicyFit] = {}
    failures: dict[str, str] = {}
    for kind, method in methods.items():
        try:
            fits[kind] = method.fit(data, np.random.default_rng([seed, *kind.encode()]))
        except TrainingError as error:
            if not automatic:
                raise
            failures[kind] = str(error)
    kind, reason = _decide(settings, fits)
    return Choice(kind, reason, methods, fits, failures)


def _decide(settings: PolicySettings, fits: Mapping[str, PolicyFit]) -> tuple[str, str]:
    """What is deployed, and why in one sentence."""
    tried = [kind for kind in fits if kind not in CONSTANTS]
    if not tried:
        if settings.method != AUTO:
            return settings.method, f'{settings.method} was asked for'
        return Recommendation.kind, 'no candidate could be trained'
    best = min(tried, key=lambda kind: fits[kind].error)
    among = f', the best of {len(tried)},' if settings.method == AUTO else ''
    pair = (
        f'{best}{among} predicts left-out elites with error {fits[best].error:.3f}, the '
        f'recommendation with {fits[Recommendation.kind].error:.3f}, '
        f'their mean with {fits[EliteMean.kind].error:.3f}'
    )
    if all(_beats(fits[best], fits[constant]) for constant in CONSTANTS):
        return best, pair
    if settings.method == AUTO or settings.gate:
        return Recommendation.kind, f'{pair}; so the recommendation is deployed'
    return best, f'{pair}; the gate is off'


def _beats(fit: PolicyFit, other: PolicyFit) -> bool:
    """Whether the error is smaller by more than its standard error over the elites."""
    gains = other.left_out - fit.left_out
    return bool(gains.mean() > gains.std(ddof=1) / np.sqrt(gains.size))
