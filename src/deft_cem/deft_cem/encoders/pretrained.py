# SPDX-License-Identifier: Apache-2.0
"""Encoders with the weights of others, read from a local file (`deft_core.pretrained`).

ResNet-18 (He et al., CVPR 2016) with ImageNet or R3M weights (Nair et al., CoRL 2022) gives the
512 averaged features before the classifier. Both take the same image: short side to 256 pixels,
the middle 224 x 224, mean and spread of ImageNet (R3M does the last step itself and wants 0..255;
the result is the same). Of a 4:3 image a sixth is not seen on either side.

CLIP (Radford et al., ICML 2021), as open_clip defines it, gives the embedding of its image tower.
It has length one, so the distance of two of them depends on their angle alone, as in CLIP's
training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from deft_cem.encoders.color_image import check_color_image
from deft_core.camera import ColorImage
from deft_core.pretrained import (
    VIT_B_32,
    ClipArchitecture,
    WeightsFile,
    first_present,
    load_strictly,
    load_torchvision,
    open_clip,
    read_tensors,
    state_of,
    weights_directory,
)
from deft_core.validation import FloatArray

# The first that exists is taken.
IMAGENET_FILES: Final = (
    WeightsFile(
        'resnet18-f37072fd.pth',
        'https://download.pytorch.org/models/resnet18-f37072fd.pth',
        46_830_571,
        'f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec',
    ),
    WeightsFile('resnet18.safetensors', 'a conversion of the file above'),
)
R3M_FILES: Final = (
    WeightsFile(
        'r3m_resnet18.pt',
        'https://drive.google.com/uc?id=1A1ic-p4KtYlKXdXHcV2QV0cUzI4kn0u- (model.pt of r3m_18, '
        'github.com/facebookresearch/r3m)',
    ),
    WeightsFile('r3m_resnet18.safetensors', 'a conversion of the file above'),
)
# The text tower is built because CLIP has one, as small as it can be, and thrown away.
_NO_TEXT: Final = {'context_length': 1, 'vocab_size': 2, 'width': 8, 'heads': 1, 'layers': 1}


def _read(files: Sequence[WeightsFile], directory: Path | None) -> tuple[dict[str, Any], str, str]:
    """Tensors, name and checksum of the first file that exists; None takes the user's folder.

    Raises:
        ConfigurationError: No file, another checksum, or no plain tensors.
    """
    directory = weights_directory() if directory is None else directory
    file = first_present(files, directory)
    data, checksum = file.read(directory)
    return read_tensors(data, file.name), file.name, checksum


class ResNet18Encoder:
    """Averaged features of a ResNet-18; every entry is >= 0."""

    def __init__(self, name: str, files: Sequence[WeightsFile], directory: Path | None) -> None:
        """Read the weights; raises ConfigurationError where they do not fit."""
        tensors, file_name, self.weights_sha256 = _read(files, directory)
        self.name, self.dimension = name, 512
        torchvision = load_torchvision()
        self._network = torchvision.models.resnet18(weights=None)
        self._network.fc = torch.nn.Identity()
        load_strictly(self._network, _without_heads(tensors), file_name, 'a ResNet-18')
        self._network.eval().requires_grad_(False)
        self._preset = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()

    def encode(self, image: ColorImage) -> FloatArray:
        """Encode one RGB image, 0..255, of shape (height, width, 3). Shape (512,)."""
        check_color_image(image)
        with torch.inference_mode():
            pixels = torch.tensor(image).permute(2, 0, 1)
            features: torch.Tensor = self._network(self._preset(pixels)[None])[0]
        return features.double().numpy()


def _without_heads(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """R3M stores the network as module.convnet.* beside its language heads."""
    if isinstance(tensors.get('r3m'), dict):
        tensors = tensors['r3m']
    plain = {str(key).removeprefix('module.'): tensor for key, tensor in tensors.items()}
    return {
        key.removeprefix('convnet.'): tensor
        for key, tensor in plain.items()
        if not key.startswith(('lang_enc.', 'lang_rew.', 'fc.'))
    }


class OpenClipEncoder:
    """Image embedding of a CLIP model, of Euclidean norm 1; its text tower is not used."""

    def __init__(
        self, name: str, architecture: ClipArchitecture, directory: Path | None = None
    ) -> None:
        """Read the weights; raises ConfigurationError where they do not fit."""
        tensors, file_name, self.weights_sha256 = _read(architecture.files, directory)
        self.name, self.dimension = name, architecture.embed_dim
        model: Any = replace(architecture, text=_NO_TEXT).build()
        self._network: torch.nn.Module = model.visual
        state = {
            key.removeprefix('visual.'): t.float() if isinstance(t, torch.Tensor) else t
            for key, t in state_of(tensors).items()
            if key.startswith('visual.')
        }
        load_strictly(self._network, state, file_name, 'this CLIP model')
        size = architecture.vision['image_size']
        self._preset = open_clip().image_transform(size, is_train=False)

    def encode(self, image: ColorImage) -> FloatArray:
        """Encode one RGB image, 0..255, of shape (height, width, 3). Shape (dimension,)."""
        check_color_image(image)
        with torch.inference_mode():
            pixels = self._preset(Image.fromarray(image))
            embedding: torch.Tensor = self._network(pixels[None])[0].double()
            normalised: FloatArray = (embedding / embedding.norm()).numpy()
        return normalised


def imagenet_encoder(name: str, directory: Path | None) -> ResNet18Encoder:
    """ResNet-18 of torchvision, trained on ImageNet."""
    return ResNet18Encoder(name, IMAGENET_FILES, directory)


def r3m_encoder(name: str, directory: Path | None) -> ResNet18Encoder:
    """ResNet-18 of R3M, trained on Ego4D."""
    return ResNet18Encoder(name, R3M_FILES, directory)


def open_clip_encoder(name: str, directory: Path | None) -> OpenClipEncoder:
    """CLIP ViT-B/32."""
    return OpenClipEncoder(name, VIT_B_32, directory)
