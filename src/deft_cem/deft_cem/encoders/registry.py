# SPDX-License-Identifier: Apache-2.0
"""phi(I) of section 3.2 by name: an image as a vector of fixed size.

    encoder = make_encoder('r3m_resnet18', Path('weights'))
    feature = encoder.encode(image)  # (512,) float64

`gradient_color_1` needs no weights. The others read a local file whose checksum is checked
(`deft_core.pretrained`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from deft_cem.encoders.color_image import ImageEncoder
from deft_cem.encoders.gradient_color import GradientColorEncoder
from deft_cem.encoders.pretrained import imagenet_encoder, open_clip_encoder, r3m_encoder
from deft_core.configuration import nearest
from deft_core.errors import InvalidInputError

ENCODERS: Final[Mapping[str, Callable[[str, Path | None], ImageEncoder]]] = {
    'gradient_color_1': lambda _name, _directory: GradientColorEncoder(),
    'resnet18': imagenet_encoder,
    'r3m_resnet18': r3m_encoder,
    'open_clip_vit_b_32': open_clip_encoder,
}


def make_encoder(name: str, weights_directory: Path | None = None) -> ImageEncoder:
    """Build an encoder by name; without a folder, weights are those of DEFT_WEIGHTS or the user.

    Raises:
        InvalidInputError: No encoder of that name.
        ConfigurationError: Its weights are missing or wrong.
    """
    if name not in ENCODERS:
        raise InvalidInputError(f'unknown image encoder {name!r}; {nearest(name, ENCODERS)}')
    return ENCODERS[name](name, weights_directory)
