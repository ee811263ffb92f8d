# SPDX-License-Identifier: Apache-2.0
"""Which of several masks a sentence speaks of, by CLIP (Radford et al., ICML 2021) in open_clip.

Each mask is cut out on a grey ground, embedded, and compared with the embedding of the sentence.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from deft_core.camera import ColorImage
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.torchvision_loader import load_torchvision
from deft_core.validation import FloatArray
from deft_core.weights import WeightsFile, weights_directory
from deft_perception.depth_view import Mask
from deft_perception.table_scene import square_crop
from deft_perception.weights_tensors import fill, read_tensors

_GREY: Final = 128
_MARGIN: Final = 0.15  # of the longer side, around a mask


@dataclass(frozen=True)
class ClipArchitecture:
    """Sizes of a model as open_clip takes them.

    Attributes:
        embed_dim: Length of the embeddings.
        vision: `vision_cfg`.
        text: `text_cfg`.
    """

    embed_dim: int
    vision: Mapping[str, Any]
    text: Mapping[str, Any]

    def build(self) -> torch.nn.Module:
        """The network with random weights.

        Raises:
            ConfigurationError: open_clip is not installed.
        """
        network: torch.nn.Module = _library().CLIP(
            embed_dim=self.embed_dim, vision_cfg=dict(self.vision), text_cfg=dict(self.text)
        )
        return network.eval().requires_grad_(False)


VIT_B_32: Final = ClipArchitecture(
    embed_dim=512,
    vision={'image_size': 224, 'layers': 12, 'width': 768, 'patch_size': 32},
    text={'context_length': 77, 'vocab_size': 49408, 'width': 512, 'heads': 8, 'layers': 12},
)
VIT_B_32_FILES: Final = (
    WeightsFile(
        'open_clip_vit_b_32.safetensors',
        'open_clip_model.safetensors of huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K '
        '(about 605 MB, 151 million numbers; its page shows the SHA-256)',
    ),
    WeightsFile(
        'vit_b_32-laion2b_e16-af8dbd0c.pth',
        'github.com/mlfoundations/open_clip/releases/tag/v0.2-weights (its SHA-256 begins with '
        'af8dbd0c)',
    ),
)


class TextRanker:
    """Compares masks with a sentence."""

    def __init__(self, architecture: ClipArchitecture, network: torch.nn.Module) -> None:
        """Take a network and what it was built from.

        Raises:
            ConfigurationError: open_clip is not installed.
        """
        library = _library()
        self._network: Any = network
        self._preset = library.image_transform(architecture.vision['image_size'], is_train=False)
        self._tokens = library.SimpleTokenizer(context_length=architecture.text['context_length'])

    def probabilities(
        self, color: ColorImage, masks: Sequence[Mask], instruction: str
    ) -> FloatArray:
        """How likely the sentence speaks of each mask. Shape (n,), sum 1.

        Args:
            color: RGB. Shape (height, width, 3).
            masks: At least one. Shapes (height, width).
            instruction: Task sentence.

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
    """Square crop around a mask, grey outside of it.

    Raises:
        InvalidInputError: The mask is empty.
    """
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        raise InvalidInputError('An empty mask cannot be compared with a sentence.')
    bounds = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
    x0, y0, x1, y1 = square_crop(bounds, mask.shape, _MARGIN)
    crop = np.full((y1 - y0, x1 - x0, 3), _GREY, dtype=np.uint8)
    inside = mask[y0:y1, x0:x1]
    crop[inside] = color[y0:y1, x0:x1][inside]
    return crop


def load_text_ranker(directory: Path | None = None) -> TextRanker:
    """The ViT-B/32 of open_clip with the weights of a local file.

    Args:
        directory: Weights folder; None takes the user's.

    Raises:
        ConfigurationError: open_clip or the file is missing, or it is another file.
    """
    folder = weights_directory() if directory is None else directory
    file = next((f for f in VIT_B_32_FILES if (folder / f.name).is_file()), VIT_B_32_FILES[0])
    return load_ranker_file(VIT_B_32, file, folder)


def load_ranker_file(
    architecture: ClipArchitecture, file: WeightsFile, directory: Path | None = None
) -> TextRanker:
    """A model of any size with the weights of a local file; see `load_text_ranker`."""
    data, _ = file.read(directory)
    network = architecture.build()
    tensors = read_tensors(data, file.name)
    # Older files lack buffers that the network makes itself, such as the attention mask.
    made = {key: value for key, value in network.state_dict().items() if key not in tensors}
    parameters = dict(network.named_parameters())
    fill(network, tensors | {k: v for k, v in made.items() if k not in parameters}, file.name)
    return TextRanker(architecture, network)


def _library() -> Any:
    load_torchvision()
    try:
        return importlib.import_module('open_clip')
    except ImportError as error:
        raise ConfigurationError(
            f'open_clip is not installed ({error}); run `make setup`.'
        ) from error
