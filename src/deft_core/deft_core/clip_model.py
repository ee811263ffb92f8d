# SPDX-License-Identifier: Apache-2.0
"""CLIP models (Radford et al., ICML 2021) as open_clip defines them, and their weights files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from deft_core.torchvision_loader import import_vision_library
from deft_core.weights import WeightsFile


@dataclass(frozen=True)
class ClipArchitecture:
    """Sizes of a model as open_clip takes them.

    Attributes:
        embed_dim: Length of the embeddings.
        vision: `vision_cfg`.
        text: `text_cfg`.
        files: Acceptable weights files; the first that exists is taken.
        quick_gelu: As in open_clip; OpenAI's weights need it.
    """

    embed_dim: int
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    files: tuple[WeightsFile, ...] = ()
    quick_gelu: bool = field(default=False)

    def build(self) -> torch.nn.Module:
        """The network with random weights, for inference.

        Raises:
            ConfigurationError: open_clip is not installed.
        """
        network: torch.nn.Module = open_clip().CLIP(
            embed_dim=self.embed_dim,
            vision_cfg=dict(self.vision),
            text_cfg=dict(self.text),
            quick_gelu=self.quick_gelu,
        )
        return network.eval().requires_grad_(False)


VIT_B_32: Final = ClipArchitecture(
    embed_dim=512,
    vision={'image_size': 224, 'layers': 12, 'width': 768, 'patch_size': 32},
    text={'context_length': 77, 'vocab_size': 49408, 'width': 512, 'heads': 8, 'layers': 12},
    files=(
        WeightsFile(
            'open_clip_vit_b_32.safetensors',
            'open_clip_model.safetensors of huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K '
            '(about 605 MB, 151 million numbers; its page shows the SHA-256)',
        ),
        WeightsFile(
            'vit_b_32-laion2b_e16-af8dbd0c.pth',
            'github.com/mlfoundations/open_clip/releases/tag/v0.2-weights (its SHA-256 begins '
            'with af8dbd0c)',
        ),
    ),
)


def open_clip() -> Any:
    """The module open_clip.

    Raises:
        ConfigurationError: It is not installed.
    """
    return import_vision_library('open_clip')
