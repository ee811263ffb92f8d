# SPDX-License-Identifier: Apache-2.0
"""Which of several masks a sentence speaks of, by CLIP (Radford et al., ICML 2021) in open_clip.

Each mask is cut out on a grey ground, embedded, and compared with the embedding of the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from deft_core.camera import ColorImage, Mask
from deft_core.errors import InvalidInputError
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
from deft_core.validation import FloatArray
from deft_perception.segmentation.table_scene import bounding_box, square_crop

_GREY: Final = 128
_MARGIN: Final = 0.15  # of the longer side, around a mask


class TextRanker:
    """Compares masks with a sentence."""

    def __init__(self, architecture: ClipArchitecture, network: torch.nn.Module) -> None:
        """Take a network and what it was built from."""
        library = open_clip()
        self._network: Any = network
        self._preset = library.image_transform(architecture.vision['image_size'], is_train=False)
        self._tokens = library.SimpleTokenizer(context_length=architecture.text['context_length'])

    def probabilities(
        self, color: ColorImage, masks: Sequence[Mask], instruction: str
    ) -> FloatArray:
        """How likely the sentence speaks of each mask. Shape (n,), sum 1.

        Raises:
            InvalidInputError: The sentence is empty, there is no mask, or one is empty.
        """
        if not instruction.strip() or not masks:
            raise InvalidInputError(
                f'Ranking needs a sentence and a mask, got {instruction!r} and {len(masks)} masks.'
            )
        crops = [cut_out(color, mask) for mask in masks]
        with torch.inference_mode():
            pixels = torch.stack([self._preset(Image.fromarray(crop)) for crop in crops])
            images = self._network.encode_image(pixels, normalize=True)
            text = self._network.encode_text(self._tokens([instruction]), normalize=True)
            scores = self._network.logit_scale.exp() * (images @ text.T)[:, 0]
        return np.asarray(torch.softmax(scores.double(), dim=0).numpy(), dtype=np.float64)


def cut_out(color: ColorImage, mask: Mask) -> ColorImage:
    """Square crop around a mask, grey outside of it; raises InvalidInputError for an empty one."""
    if not mask.any():
        raise InvalidInputError('An empty mask cannot be compared with a sentence.')
    x0, y0, x1, y1 = square_crop(bounding_box(mask), mask.shape, _MARGIN)
    crop = np.full((y1 - y0, x1 - x0, 3), _GREY, dtype=np.uint8)
    inside = mask[y0:y1, x0:x1]
    crop[inside] = color[y0:y1, x0:x1][inside]
    return crop


def load_text_ranker(
    directory: Path | None = None, architecture: ClipArchitecture = VIT_B_32
) -> TextRanker:
    """A model of open_clip with the weights of a file in a folder, else in the user's.

    Raises:
        ConfigurationError: open_clip or the file is missing, or it is another file.
    """
    folder = weights_directory() if directory is None else directory
    file = first_present(architecture.files, folder)
    data, _ = file.read(folder)
    network = architecture.build()
    state = state_of(read_tensors(data, file.name))
    # Older files lack buffers that the network makes itself, such as the attention mask.
    parameters = dict(network.named_parameters())
    for name, tensor in network.state_dict().items():
        if name not in parameters:
            state.setdefault(name, tensor)
    load_strictly(network, state, file.name, 'this CLIP model')
    return TextRanker(architecture, network)
