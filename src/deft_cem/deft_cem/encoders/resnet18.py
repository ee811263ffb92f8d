# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 (He et al., CVPR 2016) with ImageNet or R3M weights (Nair et al., CoRL 2022).

Both give the 512 averaged features before the classifier and take the same image: short side to
256 pixels, the middle 224 x 224, mean and spread of ImageNet (R3M does the last step itself and
wants 0..255; the result is the same). Of a 4:3 image a sixth is not seen on either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from deft_cem.encoders.color_image import ColorImage, FloatArray, check_color_image
from deft_core.pretrained import (
    WeightsFile,
    first_present,
    load_strictly,
    load_torchvision,
    read_tensors,
    weights_directory,
)

FEATURES: Final = 512
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


class ResNet18Encoder:
    """Averaged features of a ResNet-18 with weights of a local file.

    Attributes:
        name: Name and version.
        weights_sha256: Checksum of the file.
    """

    def __init__(self, name: str, files: tuple[WeightsFile, ...], directory: Path | None) -> None:
        """Read the weights.

        Args:
            name: Name of the encoder.
            files: Acceptable files; the first that exists is taken.
            directory: Weights folder; None takes the user's.

        Raises:
            ConfigurationError: No file, another checksum, or weights of another network.
        """
        directory = weights_directory() if directory is None else directory
        file = first_present(files, directory)
        data, checksum = file.read(directory)
        torchvision = load_torchvision()
        self.name = name
        self.weights_sha256 = checksum
        self._network = torchvision.models.resnet18(weights=None)
        self._network.fc = torch.nn.Identity()
        _load_weights(self._network, read_tensors(data, file.name), file.name)
        self._network.eval().requires_grad_(False)
        self._preset = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()

    @property
    def dimension(self) -> int:
        """Length of the feature vector."""
        return FEATURES

    def encode(self, image: ColorImage) -> FloatArray:
        """Encode one image.

        Args:
            image: RGB, 0..255. Shape (height, width, 3).

        Returns:
            Shape (512,). No unit, each entry >= 0.

        Raises:
            InvalidInputError: Not an 8-bit RGB image of at least 16 x 16 pixels.
        """
        check_color_image(image)
        with torch.inference_mode():
            pixels = torch.tensor(image).permute(2, 0, 1)
            features: torch.Tensor = self._network(self._preset(pixels)[None])[0]
        return features.double().numpy()


def imagenet_encoder(name: str, directory: Path | None) -> ResNet18Encoder:
    """ResNet-18 of torchvision, trained on ImageNet."""
    return ResNet18Encoder(name, IMAGENET_FILES, directory)


def r3m_encoder(name: str, directory: Path | None) -> ResNet18Encoder:
    """ResNet-18 of R3M, trained on Ego4D."""
    return ResNet18Encoder(name, R3M_FILES, directory)


def _load_weights(network: torch.nn.Module, tensors: Mapping[str, Any], name: str) -> None:
    """Fill every tensor of the network; what belongs to a head is left out.

    R3M stores the network as module.convnet.* beside its language heads.
    """
    if isinstance(tensors.get('r3m'), dict):
        tensors = tensors['r3m']
    state = {}
    for key, tensor in tensors.items():
        plain = str(key).removeprefix('module.')
        if plain.startswith(('lang_enc.', 'lang_rew.', 'fc.')):
            continue
        state[plain.removeprefix('convnet.')] = tensor
    load_strictly(network, state, name, 'a ResNet-18')
