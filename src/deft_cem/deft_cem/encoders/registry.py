# SPDX-License-Identifier: Apache-2.0
"""phi(I) of section 3.2: an image as a vector of fixed size.

    encoder = make_encoder('r3m_resnet18', Path('weights'))
    feature = encoder.encode(image)  # (512,) float64

`gradient_color_1` needs no weights. `resnet18` and `r3m_resnet18` read a local file whose
checksum is checked (`deft_core.pretrained`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from deft_cem.encoders.color_image import ColorImage, FloatArray
from deft_cem.encoders.gradient_color import GradientColorEncoder
from deft_cem.encoders.resnet18 import imagenet_encoder, r3m_encoder
from deft_core.configuration import nearest
from deft_core.errors import InvalidInputError


class ImageEncoder(Protocol):
    """Turns an RGB image into a feature vector, the same one for the same pixels."""

    @property
    def name(self) -> str:
        """Name and version; stored with a policy, which refuses any other encoder."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """Checksum of the weights; None where there are none. Stored with a policy too."""
        ...

    @property
    def dimension(self) -> int:
        """Length of the feature vector."""
        ...

    def encode(self, image: ColorImage) -> FloatArray:
        """Feature vector of an RGB image of shape (height, width, 3). Shape (dimension,)."""
        ...


def _light_encoder(_name: str, _directory: Path | None) -> ImageEncoder:
    return GradientColorEncoder()


ENCODERS: Final[Mapping[str, Callable[[str, Path | None], ImageEncoder]]] = {
    'gradient_color_1': _light_encoder,
    'resnet18': imagenet_encoder,
    'r3m_resnet18': r3m_encoder,
}


def make_encoder(name: str, weights_directory: Path | None = None) -> ImageEncoder:
    """Build an encoder by the name a policy was stored with.

    Args:
        name: A key of `ENCODERS`.
        weights_directory: Folder of weights files; None takes the folder in DEFT_WEIGHTS or
            the user's data folder.

    Raises:
        InvalidInputError: No encoder of that name.
        ConfigurationError: Its weights are missing or wrong.
    """
    if name not in ENCODERS:
        raise InvalidInputError(f'unknown image encoder {name!r}; {nearest(name, ENCODERS)}')
    return ENCODERS[name](name, weights_directory)
