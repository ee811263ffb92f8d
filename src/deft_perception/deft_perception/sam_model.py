# SPDX-License-Identifier: Apache-2.0
"""Segment Anything (Kirillov et al., ICCV 2023) through the package `segment_anything`.

Weights come from a local file with a checked SHA-256; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
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

_SOURCE: Final = 'https://dl.fbaipublicfiles.com/segment_anything/'


@dataclass(frozen=True)
class SamArchitecture:
    """Sizes of one model; the defaults are those that all published models share.

    Attributes:
        width: Of the image encoder's tokens.
        depth: Blocks of the image encoder.
        heads: Of its attention.
        global_blocks: Blocks that attend to the whole image.
        image_size: Longest side after scaling. [pixel].
        patch_size: [pixel].
        window_size: Of the other blocks. [token].
        prompt_width: Of the embeddings of image and prompts.
        decoder_width: Of the mask decoder's perceptrons.
        decoder_heads: Of its attention.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    patch_size: int = 16
    window_size: int = 14
    prompt_width: int = 256
    decoder_width: int = 2048
    decoder_heads: int = 8

    def build(self) -> torch.nn.Module:
        """The network with random weights.

        Raises:
            ConfigurationError: segment_anything is not installed.
        """
        modeling = _library().modeling
        side = self.image_size // self.patch_size
        network: torch.nn.Module = modeling.Sam(
            image_encoder=modeling.ImageEncoderViT(
                depth=self.depth,
                embed_dim=self.width,
                img_size=self.image_size,
                mlp_ratio=4,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                num_heads=self.heads,
                patch_size=self.patch_size,
                qkv_bias=True,
                use_rel_pos=True,
                global_attn_indexes=self.global_blocks,
                window_size=self.window_size,
                out_chans=self.prompt_width,
            ),
            prompt_encoder=modeling.PromptEncoder(
                embed_dim=self.prompt_width,
                image_embedding_size=(side, side),
                input_image_size=(self.image_size, self.image_size),
                mask_in_chans=16,
            ),
            mask_decoder=modeling.MaskDecoder(
                num_multimask_outputs=3,
                transformer=modeling.TwoWayTransformer(
                    depth=2,
                    embedding_dim=self.prompt_width,
                    mlp_dim=self.decoder_width,
                    num_heads=self.decoder_heads,
                ),
                transformer_dim=self.prompt_width,
                iou_head_depth=3,
                iou_head_hidden_dim=256,
            ),
            # Mean and spread of ImageNet, as the published weights were trained with.
            pixel_mean=[123.675, 116.28, 103.53],
            pixel_std=[58.395, 57.12, 57.375],
        )
        return network.eval().requires_grad_(False)


VIT_B: Final = SamArchitecture(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11))
VIT_L: Final = SamArchitecture(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23))
VIT_H: Final = SamArchitecture(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31))

MODELS: Final[Mapping[str, tuple[SamArchitecture, WeightsFile]]] = {
    'vit_b': (
        VIT_B,
        WeightsFile(
            'sam_vit_b_01ec64.pth',
            f'{_SOURCE}sam_vit_b_01ec64.pth',
            375_042_383,
            'ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912',
        ),
    ),
    'vit_l': (
        VIT_L,
        WeightsFile(
            'sam_vit_l_0b3195.pth',
            f'{_SOURCE}sam_vit_l_0b3195.pth',
            None,
            '3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622',
        ),
    ),
    'vit_h': (
        VIT_H,
        WeightsFile(
            'sam_vit_h_4b8939.pth',
            f'{_SOURCE}sam_vit_h_4b8939.pth',
            2_564_550_879,
            'a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e',
        ),
    ),
}


class SamMasks:
    """See `MaskModel`."""

    def __init__(self, network: torch.nn.Module) -> None:
        """Take a network.

        Raises:
            ConfigurationError: segment_anything is not installed.
        """
        self._predictor: Any = _library().SamPredictor(network)
        self._checksum: int | None = None

    def show(self, color: ColorImage) -> None:
        """Embed an image, unless it is the one embedded last; see `MaskModel.show`."""
        checksum = picture_checksum(color)
        if checksum != self._checksum:
            with torch.inference_mode():
                self._predictor.set_image(color)
            self._checksum = checksum

    def at_points(self, points: npt.ArrayLike) -> list[MaskProposal]:
        """Three masks (part, body, all) for each of some points; see `MaskModel.at_points`."""
        pixels = np.asarray(points, dtype=np.float64).reshape(-1, 1, 2)
        coordinates = self._scaled(pixels)
        labels = torch.ones(coordinates.shape[:2], dtype=torch.int)
        return self._predict(coordinates, labels, None, several=True)

    def in_boxes(self, boxes: npt.ArrayLike) -> list[MaskProposal]:
        """One mask for each of some boxes; see `MaskModel.in_boxes`."""
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2)
        scaled = self._scaled(corners).reshape(-1, 4)
        return self._predict(None, None, scaled, several=False)

    def _scaled(self, pixels: npt.NDArray[np.float64]) -> torch.Tensor:
        if self._checksum is None:
            raise InvalidInputError('Show an image to Segment Anything before asking for masks.')
        size = self._predictor.original_size
        scaled = self._predictor.transform.apply_coords(pixels, size)
        return torch.as_tensor(scaled, dtype=torch.float)

    def _predict(
        self,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        *,
        several: bool,
    ) -> list[MaskProposal]:
        with torch.inference_mode():
            masks, scores, _ = self._predictor.predict_torch(
                point_coords=points, point_labels=labels, boxes=boxes, multimask_output=several
            )
        return [
            MaskProposal(mask, float(score))
            for mask, score in zip(
                masks.flatten(0, 1).cpu().numpy().astype(np.bool_),
                scores.flatten().cpu().numpy(),
                strict=True,
            )
        ]


def load_sam(name: str, directory: Path | None = None) -> SamMasks:
    """A published model with the weights of a local file.

    Args:
        name: Of `MODELS`.
        directory: Weights folder; None takes the user's.

    Raises:
        ConfigurationError: An unknown model, no segment_anything, no file (the message says which,
            how large, its checksum, and where to get it), or another file.
    """
    if name not in MODELS:
        raise ConfigurationError(
            f'Unknown Segment Anything model {name!r}; {nearest(name, MODELS)}'
        )
    architecture, file = MODELS[name]
    return load_sam_file(architecture, file, directory)


def load_sam_file(
    architecture: SamArchitecture, file: WeightsFile, directory: Path | None = None
) -> SamMasks:
    """A model of any size with the weights of a local file; see `load_sam`."""
    data, _ = file.read(directory)
    network = architecture.build()
    load_strictly(network, state_of(read_tensors(data, file.name)), file.name, 'this model')
    return SamMasks(network)


def _library() -> Any:
    return import_vision_library('segment_anything')
