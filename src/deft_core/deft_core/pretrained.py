# SPDX-License-Identifier: Apache-2.0
"""Pretrained networks that others publish: their files, their libraries, their tensors.

Nothing is downloaded. The user puts a file into the weights folder; its SHA-256 must be the one
known to DEFT or the one in the folder's SHA256SUMS (the format of `sha256sum`). Nothing in a file
is executed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from deft_core.errors import ConfigurationError
from deft_core.files import read_bytes, read_text

CHECKSUM_FILE: Final = 'SHA256SUMS'
_MAXIMUM_BYTES: Final = 4 * 1024**3
_CHECKSUM_LINE: Final = re.compile(r'([0-9a-fA-F]{64}) [ *](.+)')


def weights_directory() -> Path:
    """Folder of weights: `DEFT_WEIGHTS`, else deft/weights in the user's data folder."""
    override = os.environ.get('DEFT_WEIGHTS')
    if override:
        return Path(override)
    data = os.environ.get('XDG_DATA_HOME') or '~/.local/share'
    return Path(data).expanduser() / 'deft' / 'weights'


@dataclass(frozen=True)
class WeightsFile:
    """A file that somebody else publishes."""

    name: str  # file name in the weights folder
    source: str  # where to get it
    size: int | None = None  # its length, where known [byte]
    sha256: str | None = None  # its checksum, where the publisher's file is known

    def read(self, directory: Path | None = None) -> tuple[bytes, str]:
        """The checked bytes and their SHA-256; from `weights_directory()` unless told.

        Raises:
            ConfigurationError: The file is missing, cannot be read, or its checksum is unknown
                or another one.
        """
        directory = weights_directory() if directory is None else directory
        path = directory / self.name
        if not path.is_file():
            raise ConfigurationError(
                f'{self.name} ({self._described()}) is missing in {directory}; get it from '
                f'{self.source} and put it there, or name its folder in DEFT_WEIGHTS.'
            )
        expected = _checksums(directory).get(self.name, self.sha256)
        data = read_bytes(path, _MAXIMUM_BYTES)
        found = hashlib.sha256(data).hexdigest()
        if expected is None:
            raise ConfigurationError(
                f'No checksum is known for {path} (SHA-256 {found}); if the file comes from '
                f'{self.source}, run `sha256sum {self.name} >> {CHECKSUM_FILE}` in its folder.'
            )
        if found != expected:
            raise ConfigurationError(
                f'{path} has SHA-256 {found}, expected {expected}; get it again from '
                f'{self.source}.'
            )
        return data, found

    def _described(self) -> str:
        size = 'size not known' if self.size is None else f'{self.size / 1e6:.1f} MB'
        checksum = 'not known, to be noted in SHA256SUMS' if self.sha256 is None else self.sha256
        return f'{size}, SHA-256 {checksum}'


def first_present(files: Sequence[WeightsFile], directory: Path) -> WeightsFile:
    """The first of several acceptable files that is in a folder, else the first of all."""
    return next((file for file in files if (directory / file.name).is_file()), files[0])


def _checksums(directory: Path) -> dict[str, str]:
    """File name to SHA-256 of the folder's own list; empty without one."""
    path = directory / CHECKSUM_FILE
    if not path.exists():
        return {}
    checksums = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        match = _CHECKSUM_LINE.fullmatch(line.strip())
        if line.strip() and match is None:
            raise ConfigurationError(
                f'{path}: line {number} must be a SHA-256 and a file name, as sha256sum writes it.'
            )
        if match is not None:
            checksums[match[2]] = match[1].lower()
    return checksums


def read_tensors(data: bytes, name: str) -> dict[str, Any]:
    """The mapping in a .safetensors, .pth or .pt file; its name tells the format.

    Raises:
        ConfigurationError: It holds something else than plain values.
    """
    try:
        if name.endswith('.safetensors'):
            loaded: Any = safetensors.torch.load(data)
        else:
            loaded = torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
    # torch documents no error type for a file that is not one of its own or holds objects.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(f'{name} holds no plain tensors ({reason}).') from error
    if not isinstance(loaded, dict):
        raise ConfigurationError(f'{name} holds a {type(loaded).__name__}, expected tensors.')
    return loaded


def state_of(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors by name, of a state dictionary or a checkpoint; `module.` of parallel ones goes."""
    inner = loaded.get('state_dict')
    state = inner if isinstance(inner, Mapping) else loaded
    return {str(key).removeprefix('module.'): tensor for key, tensor in state.items()}


def load_strictly(
    network: torch.nn.Module, state: Mapping[str, Any], name: str, kind: str
) -> None:
    """Fill every tensor of a network; `name` (of the file) and `kind` are for the message.

    Raises:
        ConfigurationError: Tensors are missing, unknown, of another shape or not finite.
    """
    expected = network.state_dict()
    wrong = sorted(set(state) ^ set(expected))
    if wrong:
        raise ConfigurationError(
            f'{name} is not {kind}: {len(wrong)} tensors are missing or unknown, '
            f'first {wrong[0]!r}.'
        )
    for key, like in expected.items():
        tensor = state[key]
        fits = isinstance(tensor, torch.Tensor) and tensor.shape == like.shape
        if not fits or not bool(torch.isfinite(tensor).all()):
            raise ConfigurationError(
                f'{name}: {key} must be finite numbers of shape {tuple(like.shape)}.'
            )
    network.load_state_dict(dict(state))


def load_torchvision() -> Any:
    """The module torchvision; raises ConfigurationError where it is not installed."""
    return import_vision_library('torchvision')


def import_vision_library(name: str) -> Any:
    """torchvision, or a library that imports it itself, such as open_clip.

    PyPI's torchvision is built against the CUDA build of torch. Beside a CPU build its library
    does not load, and the import fails because it describes two operators that nobody defined.
    What DEFT takes from it (architectures, image transforms) needs no compiled operator, so the
    two are declared here without a body. Where the library does load, nothing is touched.

    Raises:
        ConfigurationError: It or torchvision is not installed, or does not fit torch.
    """
    try:
        _declare_operators()
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigurationError(
            f'{name} is not installed or does not fit torch {torch.__version__} ({error}); run '
            '`make setup`.'
        ) from error


@functools.cache
def _declare_operators() -> Any:  # torch.library.Library, which torch leaves untyped
    """What is declared lives as long as the returned library; the cache keeps it."""
    found = importlib.util.find_spec('torchvision')
    if found is None or found.origin is None:
        raise ImportError('torchvision is missing')
    for file in Path(found.origin).parent.glob('_C*.so'):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
            return None
        except OSError:
            continue
    library: Any = torch.library.Library('torchvision', 'DEF')  # type: ignore[no-untyped-call]
    for name in ('nms', 'qnms'):
        library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    return library


@dataclass(frozen=True)
class ClipArchitecture:
    """Sizes of a model as open_clip takes them."""

    embed_dim: int  # length of the embeddings
    vision: Mapping[str, Any]  # `vision_cfg`
    text: Mapping[str, Any]  # `text_cfg`
    files: tuple[WeightsFile, ...] = ()  # acceptable weights files; the first that exists is taken
    quick_gelu: bool = False  # as in open_clip; OpenAI's weights need it

    def build(self) -> torch.nn.Module:
        """The network with random weights, for inference."""
        network: torch.nn.Module = open_clip().CLIP(
            embed_dim=self.embed_dim,
            vision_cfg=dict(self.vision),
            text_cfg=dict(self.text),
            quick_gelu=self.quick_gelu,
        )
        return network.eval().requires_grad_(False)


VIT_B_32: Final = ClipArchitecture(
    embed_dim=512,
    vision={'image_size': 224, 'layers': 12, 'width': 768, 'patch_size': 32},
    text={'context_length': 77, 'vocab_size': 49408, 'width': 512, 'heads': 8, 'layers': 12},
    files=(
        WeightsFile(
            'open_clip_vit_b_32.safetensors',
            'open_clip_model.safetensors of huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K '
            '(about 605 MB, 151 million numbers; its page shows the SHA-256)',
        ),
        WeightsFile(
            'vit_b_32-laion2b_e16-af8dbd0c.pth',
            'github.com/mlfoundations/open_clip/releases/tag/v0.2-weights (its SHA-256 begins '
            'with af8dbd0c)',
        ),
    ),
)


def open_clip() -> Any:
    """The module open_clip; raises ConfigurationError where it is not installed."""
    return import_vision_library('open_clip')
