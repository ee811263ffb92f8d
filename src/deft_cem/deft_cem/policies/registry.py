# SPDX-License-Identifier: Apache-2.0
"""All kinds of policy by name: what their settings are and how a method is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deft_cem.policies.conditional_vae import VaeSettings
from deft_cem.policies.direct import Direct
from deft_cem.policies.elite_mean import EliteMean, EliteMeanSettings
from deft_cem.policies.interface import PolicyMethod
from deft_cem.policies.mlp import Mlp, MlpSettings
from deft_cem.policies.residual_vae import ResidualVae
from deft_cem.policies.ridge import Ridge, RidgeSettings
from deft_cem.policies.transformer import Transformer, TransformerSettings

KINDS: Final[Mapping[str, tuple[type[Any], Callable[[Any], PolicyMethod]]]] = {
    ResidualVae.kind: (VaeSettings, ResidualVae),
    Ridge.kind: (RidgeSettings, Ridge),
    Mlp.kind: (MlpSettings, Mlp),
    Transformer.kind: (TransformerSettings, Transformer),
    Direct.kind: (VaeSettings, Direct),
    EliteMean.kind: (EliteMeanSettings, EliteMean),
}
