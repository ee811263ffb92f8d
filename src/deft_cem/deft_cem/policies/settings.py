# SPDX-License-Identifier: Apache-2.0
"""Section `policy:` of the learning settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from deft_cem.encoders.registry import ENCODERS
from deft_cem.policies.conditional_vae import VaeSettings
from deft_cem.policies.direct import Direct
from deft_cem.policies.elite_mean import EliteMean, EliteMeanSettings
from deft_cem.policies.interface import PolicyMethod
from deft_cem.policies.mlp import Mlp, MlpSettings
from deft_cem.policies.registry import KINDS
from deft_cem.policies.residual_vae import ResidualVae
from deft_cem.policies.ridge import Ridge, RidgeSettings
from deft_cem.policies.transformer import Transformer, TransformerSettings
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

AUTO: Final = 'auto'
METHODS: Final = tuple(KINDS)
CANDIDATES: Final = tuple(kind for kind in KINDS if kind != EliteMean.kind)


@dataclass(frozen=True)
class PolicySettings:
    """The policy that is trained on the elites.

    Attributes:
        method: A policy by name, or 'auto' for the candidate that predicts left-out elites best.
        gate: Deploy the mean of the elites instead of a policy that does not predict left-out
            elites better than that mean.
        candidates: What 'auto' chooses from, besides the mean of the elites.
        encoder: Name of the image encoder phi.
        image_components: Principal components of phi(I) in the condition.
        prior_components: Principal components of xi in the condition.
        vae: Of residual_vae, and of direct.
        ridge: Of ridge.
        mlp: Of mlp.
        transformer: Of transformer.
    """

    method: str = AUTO
    gate: bool = True
    candidates: tuple[str, ...] = CANDIDATES
    encoder: str = 'gradient_color_1'
    image_components: int = field(default=2, metadata={'minimum': 0, 'maximum': 64})
    prior_components: int = field(default=3, metadata={'minimum': 0, 'maximum': 25})
    vae: VaeSettings = field(default_factory=VaeSettings)
    ridge: RidgeSettings = field(default_factory=RidgeSettings)
    mlp: MlpSettings = field(default_factory=MlpSettings)
    transformer: TransformerSettings = field(default_factory=TransformerSettings)

    def __post_init__(self) -> None:
        """Refuse unknown names and candidates named twice."""
        for entry, name, known in (
            ('method', self.method, (*METHODS, AUTO)),
            ('encoder', self.encoder, tuple(ENCODERS)),
            *(('candidates', name, CANDIDATES) for name in self.candidates),
        ):
            if name not in known:
                raise ConfigurationError(f'{entry}: unknown {name!r}; {nearest(name, known)}')
        if len(set(self.candidates)) < len(self.candidates):
            raise ConfigurationError(f'candidates names one twice: {", ".join(self.candidates)}')

    def make_method(self, kind: str) -> PolicyMethod:
        """A way to make a policy, with its settings.

        Args:
            kind: A name in `METHODS`.
        """
        settings: dict[str, Any] = {
            ResidualVae.kind: self.vae,
            Ridge.kind: self.ridge,
            Mlp.kind: self.mlp,
            Transformer.kind: self.transformer,
            Direct.kind: self.vae,
            EliteMean.kind: EliteMeanSettings(),
        }
        return KINDS[kind][1](settings[kind])
