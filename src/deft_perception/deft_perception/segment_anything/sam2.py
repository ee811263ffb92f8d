# SPDX-License-Identifier: Apache-2.0
"""Segment Anything 2.1 (Ravi et al., ICLR 2025) for single images, through `transformers`.

Weights come from a local file with a checked SHA-256; nothing is downloaded, and nothing in the
file is executed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from deft_core.camera import ColorImage, Mask
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.pretrained import (
    WeightsFile,
    import_vision_library,
    load_strictly,
    read_tensors,
    state_of,
)


@dataclass(frozen=True)
class Sam2Model:
    """A published model: its sizes, as differences from those of Hiera tiny, and its weights.

    `backbone` and `vision` are arguments of the classes of transformers; `width` is that of the
    embeddings of image and prompts, `decoder_width` that of the decoder's perceptrons, and
    `image_size` the side of the square that images are scaled to. [pixel].
    """

    file: WeightsFile
    backbone: Mapping[str, Any]
    vision: Mapping[str, Any]
    width: int = 256
    decoder_width: int = 2048
    image_size: int = 1024

    def build(self) -> torch.nn.Module:
        """The network with random weights; raises ConfigurationError without transformers."""
        library = import_vision_library('transformers')
        side = self.image_size
        configuration = library.Sam2Config(
            vision_config=library.Sam2VisionConfig(
                backbone_config=library.Sam2HieraDetConfig(
                    image_size=[side, side], **self.backbone
                ),
                backbone_feature_sizes=[[side // stride] * 2 for stride in (4, 8, 16)],
                fpn_hidden_size=self.width,
                **self.vision,
            ),
            prompt_encoder_config=library.Sam2PromptEncoderConfig(
                hidden_size=self.width, image_size=side
            ),
            mask_decoder_config=library.Sam2MaskDecoderConfig(
                hidden_size=self.width, mlp_dim=self.decoder_width, iou_head_hidden_dim=self.width
            ),
        )
        network: torch.nn.Module = library.Sam2Model(configuration)
        return network.eval().requires_grad_(False)

    def load(self, directory: Path | None = None) -> Sam2Predictor:
        """The network with the weights of a file in a folder, else in the user's.

        Raises:
            ConfigurationError: No transformers, no file (its source is told), or another file.
        """
        data, _ = self.file.read(directory)
        network: Any = self.build()
        # The published files hold the memory for videos, too.
        unused = [re.compile(pattern) for pattern in network._keys_to_ignore_on_load_unexpected]
        tensors = {
            key: tensor
            for key, tensor in state_of(read_tensors(data, self.file.name)).items()
            if not any(pattern.search(key) for pattern in unused)
        }
        load_strictly(network, tensors, self.file.name, 'this model')
        return Sam2Predictor(network, self.image_size)


def _published(name: str, **backbone: Any) -> Sam2Model:
    source = f'model.safetensors of huggingface.co/facebook/sam2.1-{name.replace("_", "-")}'
    file = WeightsFile(f'sam2.1_{name}.safetensors', f'{source} (its page shows the SHA-256)')
    return Sam2Model(file, backbone, {})


MODELS: Final[Mapping[str, Sam2Model]] = {
    'hiera_tiny': _published('hiera_tiny'),
    'hiera_small': _published(
        'hiera_small', blocks_per_stage=[1, 2, 11, 2], global_attention_blocks=[7, 10, 13]
    ),
}


def load_sam2(name: str, directory: Path | None = None) -> Sam2Predictor:
    """A model of the registry `MODELS`; see `Sam2Model.load`."""
    if name not in MODELS:
        raise ConfigurationError(
            f'Unknown Segment Anything 2 model {name!r}; {nearest(name, MODELS)}'
        )
    return MODELS[name].load(directory)


@dataclass(frozen=True, eq=False)
class MaskProposal:
    """A mask (height, width), and its overlap with the true one as the model estimates it."""

    mask: Mask
    score: float


class Sam2Predictor:
    """Masks for prompts; the embedding of an image is computed once and kept."""

    def __init__(self, network: torch.nn.Module, image_size: int) -> None:
        """Take a network and the side of the square that images are scaled to."""
        library = import_vision_library('transformers')
        size = {'height': image_size, 'width': image_size}
        self._network: Any = network
        self._processor = library.Sam2Processor(
            image_processor=library.Sam2ImageProcessor(size=size)
        )
        self._checksum: int | None = None
        self._embedding: list[torch.Tensor] = []
        self._original_size: list[list[int]] = []

    def set_image(self, color: ColorImage) -> None:
        """Embed an RGB image (height, width, 3), unless it is the one embedded last."""
        checksum = zlib.crc32(np.ascontiguousarray(color).data, color.shape[1])
        if checksum != self._checksum:
            prepared = self._processor(images=color, return_tensors='pt')
            with torch.inference_mode():
                self._embedding = self._network.get_image_embeddings(prepared['pixel_values'])
            self._original_size = [[int(color.shape[0]), int(color.shape[1])]]
            self._checksum = checksum

    def at_points(self, points: npt.ArrayLike) -> list[MaskProposal]:
        """Three masks (part, body, all) for each of some points (column, row). Shape (n, 2).

        Raises:
            InvalidInputError: No image was set.
        """
        pixels = np.asarray(points, dtype=np.float64).reshape(1, -1, 1, 2)
        labels = np.ones(pixels.shape[:3], dtype=np.int64)
        return self._predict(
            several=True, input_points=pixels.tolist(), input_labels=labels.tolist()
        )

    def in_boxes(self, boxes: npt.ArrayLike) -> list[MaskProposal]:
        """One mask for each of some boxes (x0, y0, x1, y1). Shape (n, 4).

        Raises:
            InvalidInputError: No image was set.
        """
        corners = np.asarray(boxes, dtype=np.float64).reshape(1, -1, 4)
        return self._predict(several=False, input_boxes=corners.tolist())

    def _predict(self, *, several: bool, **prompts: Any) -> list[MaskProposal]:
        if self._checksum is None:
            raise InvalidInputError('Set an image before asking Segment Anything for masks.')
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
