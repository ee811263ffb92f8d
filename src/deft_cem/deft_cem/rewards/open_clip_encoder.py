# SPDX-License-Identifier: Apache-2.0
"""The image tower of a CLIP model (Radford et al., ICML 2021) as open_clip defines it.

The embedding has length one, so the distance of two of them depends on their angle alone, as in
CLIP's training. Weights come from a local file; the text tower in it is not used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from deft_cem.encoders.color_image import ColorImage, FloatArray, check_color_image
from deft_cem.encoders.tensor_file import load_strictly, read_tensors
from deft_core.errors import ConfigurationError
from deft_core.torchvision_loader import load_torchvision
from deft_core.weights import WeightsFile, weights_directory

_VISUAL: Final = 'visual.'
# The text tower is built because CLIP has one, as small as it can be, and thrown away.
_NO_TEXT: Final = {'context_length': 1, 'vocab_size': 2, 'width': 8, 'heads': 1, 'layers': 1}


@dataclass(frozen=True)
class ClipArchitecture:
    """What tells the image tower of one open_clip model from that of another.

    Attributes:
        embed_dim: Length of the embedding.
        vision: `vision_cfg` of the model in open_clip.
        quick_gelu: As in open_clip; OpenAI's weights need it.
        files: Acceptable weights files; the first that exists is taken.
    """

    embed_dim: int
    vision: Mapping[str, Any]
    files: tuple[WeightsFile, ...]
    quick_gelu: bool = field(default=False)


VIT_B_32: Final = ClipArchitecture(
    embed_dim=512,
    vision={'image_size': 224, 'layers': 12, 'width': 768, 'patch_size': 32},
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


class OpenClipEncoder:
    """Image embedding of a CLIP model with weights of a local file.

    Attributes:
        name: Name of the encoder.
        weights_sha256: Checksum of the file.
    """

    def __init__(
        self, name: str, architecture: ClipArchitecture, directory: Path | None = None
    ) -> None:
        """Read the weights.

        Args:
            name: Name of the encoder.
            architecture: Model of the weights.
            directory: Weights folder; None takes the user's.

        Raises:
            ConfigurationError: open_clip is not installed, there is no file, it has another
                checksum, or it holds another model.
        """
        directory = weights_directory() if directory is None else directory
        files = architecture.files
        file = next((f for f in files if (directory / f.name).is_file()), files[0])
        data, checksum = file.read(directory)
        library = _open_clip()
        model = library.CLIP(
            embed_dim=architecture.embed_dim,
            vision_cfg=dict(architecture.vision),
            text_cfg=dict(_NO_TEXT),
            quick_gelu=architecture.quick_gelu,
        )
        self.name = name
        self.weights_sha256 = checksum
        self._dimension = architecture.embed_dim
        self._network: torch.nn.Module = model.visual
        _load_visual(self._network, read_tensors(data, file.name), file.name)
        self._network.eval().requires_grad_(False)
        self._preset = library.image_transform(architecture.vision['image_size'], is_train=False)

    @property
    def dimension(self) -> int:
        """Length of the embedding."""
        return self._dimension

    def encode(self, image: ColorImage) -> FloatArray:
        """Encode one image.

        Args:
            image: RGB, 0..255. Shape (height, width, 3).

        Returns:
            Shape (dimension,). No unit, Euclidean norm 1.

        Raises:
            InvalidInputError: Not an 8-bit RGB image of at least 16 x 16 pixels.
        """
        check_color_image(image)
        with torch.inference_mode():
            pixels = self._preset(Image.fromarray(image))
            embedding: torch.Tensor = self._network(pixels[None])[0].double()
            normalised: FloatArray = (embedding / embedding.norm()).numpy()
        return normalised


def _open_clip() -> Any:
    load_torchvision()
    try:
        return importlib.import_module('open_clip')
    except ImportError as error:
        raise ConfigurationError(
            f'open_clip is not installed ({error}); run `make setup`'
        ) from error


def _load_visual(network: torch.nn.Module, tensors: Mapping[str, Any], name: str) -> None:
    """Fill the image tower from the weights of a whole model."""
    if isinstance(tensors.get('state_dict'), dict):
        tensors = tensors['state_dict']
    plain = {str(key).removeprefix('module.'): tensor for key, tensor in tensors.items()}
    state = {
        key.removeprefix(_VISUAL): tensor.float() if isinstance(tensor, torch.Tensor) else tensor
        for key, tensor in plain.items()
        if key.startswith(_VISUAL)
    }
    load_strictly(network, state, name, 'this CLIP model')
