# SPDX-License-Identifier: Apache-2.0
"""The image tower of a CLIP model (Radford et al., ICML 2021) as open_clip defines it.

The embedding has length one, so the distance of two of them depends on their angle alone, as in
CLIP's training. Weights come from a local file; the text tower in it is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from deft_cem.encoders.color_image import ColorImage, FloatArray, check_color_image
from deft_core.pretrained import (
    VIT_B_32,
    ClipArchitecture,
    first_present,
    load_strictly,
    open_clip,
    read_tensors,
    state_of,
    weights_directory,
)

_VISUAL: Final = 'visual.'
# The text tower is built because CLIP has one, as small as it can be, and thrown away.
_NO_TEXT: Final = {'context_length': 1, 'vocab_size': 2, 'width': 8, 'heads': 1, 'layers': 1}


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
        file = first_present(architecture.files, directory)
        data, checksum = file.read(directory)
        model: Any = replace(architecture, text=_NO_TEXT).build()
        self.name = name
        self.weights_sha256 = checksum
        self._dimension = architecture.embed_dim
        self._network: torch.nn.Module = model.visual
        _load_visual(self._network, read_tensors(data, file.name), file.name)
        size = architecture.vision['image_size']
        self._preset = open_clip().image_transform(size, is_train=False)

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


def open_clip_encoder(name: str, directory: Path | None) -> OpenClipEncoder:
    """CLIP ViT-B/32."""
    return OpenClipEncoder(name, VIT_B_32, directory)


def _load_visual(network: torch.nn.Module, tensors: Mapping[str, Any], name: str) -> None:
    """Fill the image tower from the weights of a whole model."""
    state = {
        key.removeprefix(_VISUAL): tensor.float() if isinstance(tensor, torch.Tensor) else tensor
        for key, tensor in state_of(tensors).items()
        if key.startswith(_VISUAL)
    }
    load_strictly(network, state, name, 'this CLIP model')
