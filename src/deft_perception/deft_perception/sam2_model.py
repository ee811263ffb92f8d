# SPDX-License-Identifier: Apache-2.0
"""Segment Anything 2.1 (Ravi et al., ICLR 2025) for single images, through `transformers`.

Its small models are several times faster than the first Segment Anything. Weights come from a
local file with a checked SHA-256; nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from deft_core.camera import ColorImage
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.pretrained import (
    WeightsFile,
    import_vision_library,
    load_strictly,
    read_tensors,
    state_of,
)
from deft_perception.mask_model import MaskProposal, picture_checksum

_STRIDES: Final = (4, 8, 16)  # of the feature maps that the decoder takes


@dataclass(frozen=True)
class Sam2Architecture:
    """Sizes of one model; the defaults are those that the small published models share.

    Attributes:
        blocks: Of each stage of the image encoder.
        global_blocks: Blocks that attend to the whole image.
        widths: Of the tokens of each stage.
        heads: Of the attention of each stage.
        prompt_width: Of the embeddings of image and prompts.
        decoder_width: Of the mask decoder's perceptrons.
        image_size: Side of the square that images are scaled to. [pixel].
    """

    blocks: tuple[int, ...]
    global_blocks: tuple[int, ...]
    widths: tuple[int, ...] = (96, 192, 384, 768)
    heads: tuple[int, ...] = (1, 2, 4, 8)
    prompt_width: int = 256
    decoder_width: int = 2048
    image_size: int = 1024

    def build(self) -> torch.nn.Module:
        """The network with random weights.

        Raises:
            ConfigurationError: transformers is not installed.
        """
        library = _library()
        backbone = library.Sam2HieraDetConfig(
            hidden_size=self.widths[0],
            num_attention_heads=self.heads[0],
            image_size=[self.image_size, self.image_size],
            blocks_per_stage=list(self.blocks),
            embed_dim_per_stage=list(self.widths),
            num_attention_heads_per_stage=list(self.heads),
            global_attention_blocks=list(self.global_blocks),
        )
        vision = library.Sam2VisionConfig(
            backbone_config=backbone,
            backbone_channel_list=list(reversed(self.widths)),
            backbone_feature_sizes=[[self.image_size // s] * 2 for s in _STRIDES],
            fpn_hidden_size=self.prompt_width,
        )
        configuration = library.Sam2Config(
            vision_config=vision,
            prompt_encoder_config=library.Sam2PromptEncoderConfig(
                hidden_size=self.prompt_width, image_size=self.image_size
            ),
            mask_decoder_config=library.Sam2MaskDecoderConfig(
                hidden_size=self.prompt_width,
                mlp_dim=self.decoder_width,
                iou_head_hidden_dim=self.prompt_width,
            ),
        )
        network: torch.nn.Module = library.Sam2Model(configuration)
        return network.eval().requires_grad_(False)


HIERA_TINY: Final = Sam2Architecture(blocks=(1, 2, 7, 2), global_blocks=(5, 7, 9))
HIERA_SMALL: Final = Sam2Architecture(blocks=(1, 2, 11, 2), global_blocks=(7, 10, 13))


def _published(name: str) -> WeightsFile:
    return WeightsFile(
        f'sam2.1_{name}.safetensors',
        f'model.safetensors of huggingface.co/facebook/sam2.1-{name.replace("_", "-")} (its page '
        'shows the SHA-256)',
    )


MODELS: Final[Mapping[str, tuple[Sam2Architecture, WeightsFile]]] = {
    'hiera_tiny': (HIERA_TINY, _published('hiera_tiny')),
    'hiera_small': (HIERA_SMALL, _published('hiera_small')),
}


class Sam2Masks:
    """See `MaskModel`."""

    def __init__(self, network: torch.nn.Module, image_size: int) -> None:
        """Take a network and the side of the square that images are scaled to.

        Raises:
            ConfigurationError: transformers is not installed.
        """
        library = _library()
        size = {'height': image_size, 'width': image_size}
        self._network: Any = network
        self._processor = library.Sam2Processor(
            image_processor=library.Sam2ImageProcessor(size=size)
        )
        self._checksum: int | None = None
        self._embedding: list[torch.Tensor] = []
        self._original_size: list[list[int]] = []

    def show(self, color: ColorImage) -> None:
        """Embed an image, unless it is the one embedded last; see `MaskModel.show`."""
        checksum = picture_checksum(color)
        if checksum != self._checksum:
            prepared = self._processor(images=color, return_tensors='pt')
            with torch.inference_mode():
                self._embedding = self._network.get_image_embeddings(prepared['pixel_values'])
            self._original_size = [[int(color.shape[0]), int(color.shape[1])]]
            self._checksum = checksum

    def at_points(self, points: npt.ArrayLike) -> list[MaskProposal]:
        """Three masks (part, body, all) for each of some points; see `MaskModel.at_points`."""
        pixels = np.asarray(points, dtype=np.float64).reshape(1, -1, 1, 2)
        labels = np.ones(pixels.shape[:3], dtype=np.int64)
        return self._predict(
            several=True, input_points=pixels.tolist(), input_labels=labels.tolist()
        )

    def in_boxes(self, boxes: npt.ArrayLike) -> list[MaskProposal]:
        """One mask for each of some boxes; see `MaskModel.in_boxes`."""
        corners = np.asarray(boxes, dtype=np.float64).reshape(1, -1, 4)
        return self._predict(several=False, input_boxes=corners.tolist())

    def _predict(self, *, several: bool, **prompts: Any) -> list[MaskProposal]:
        if self._checksum is None:
            raise InvalidInputError('Show an image to Segment Anything before asking for masks.')
        prepared = self._processor(
            original_sizes=self._original_size, return_tensors='pt', **prompts
        )
        scaled = {name: prepared[name] for name in prompts}
        with torch.inference_mode():
            found = self._network(
                image_embeddings=self._embedding, multimask_output=several, **scaled
            )
            masks = self._processor.post_process_masks(found.pred_masks, self._original_size)[0]
        return [
            MaskProposal(mask, float(score))
            for mask, score in zip(
                masks.flatten(0, 1).numpy(), found.iou_scores.flatten().numpy(), strict=True
            )
        ]


def load_sam2(name: str, directory: Path | None = None) -> Sam2Masks:
    """A published model with the weights of a local file.

    Args:
        name: Of `MODELS`.
        directory: Weights folder; None takes the user's.

    Raises:
        ConfigurationError: An unknown model, no transformers, no file (the message says which, and
            where to get it), or another file.
    """
    if name not in MODELS:
        raise ConfigurationError(
            f'Unknown Segment Anything 2 model {name!r}; {nearest(name, MODELS)}'
        )
    architecture, file = MODELS[name]
    return load_sam2_file(architecture, file, directory)


def load_sam2_file(
    architecture: Sam2Architecture, file: WeightsFile, directory: Path | None = None
) -> Sam2Masks:
    """A model of any size with the weights of a local file; see `load_sam2`."""
    data, _ = file.read(directory)
    network: Any = architecture.build()
    # The published files hold the memory for videos, too.
    unused = [re.compile(pattern) for pattern in network._keys_to_ignore_on_load_unexpected]
    tensors = {
        key: tensor
        for key, tensor in state_of(read_tensors(data, file.name)).items()
        if not any(pattern.search(key) for pattern in unused)
    }
    load_strictly(network, tensors, file.name, 'this model')
    return Sam2Masks(network, architecture.image_size)


def _library() -> Any:
    return import_vision_library('transformers')
