# SPDX-License-Identifier: Apache-2.0
"""Imports torchvision, also where its compiled operators do not fit the installed torch.

PyPI's torchvision is built against the CUDA build of torch. Beside a CPU build its library does
not load, and the import fails because it describes two operators that nobody defined. What DEFT
takes from it (architectures, image transforms) needs no compiled operator, so the two are defined
here in plain torch. Where the library does load, nothing is touched.

The only place that imports torchvision; libraries that need it are imported by
`import_vision_library`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from deft_core.errors import ConfigurationError


@functools.cache
def load_torchvision() -> ModuleType:
    """The module torchvision, ready to use.

    Raises:
        ConfigurationError: It is not installed or does not fit torch.
    """
    found = importlib.util.find_spec('torchvision')
    if found is None or found.origin is None:
        raise ConfigurationError('torchvision is not installed; run `make setup`.')
    if not _compiled_operators_load(Path(found.origin).parent):
        _define_operators()
    try:
        return importlib.import_module('torchvision')
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigurationError(
            f'torchvision does not fit torch {torch.__version__} ({error}); run `make setup`.'
        ) from error


def import_vision_library(name: str) -> Any:
    """A library that imports torchvision itself, such as open_clip.

    Args:
        name: Of the module.

    Raises:
        ConfigurationError: It or torchvision is not installed.
    """
    load_torchvision()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f'{name} is not installed ({error}); run `make setup`.'
        ) from error


def _compiled_operators_load(package: Path) -> bool:
    """Load them as torchvision itself will; a second time does nothing."""
    for library in sorted(package.glob('_C*.so')):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False


def _define_operators() -> None:
    library = _library()
    for name in ('nms', 'qnms'):
        library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        library.impl(name, suppress_overlaps, 'CPU')


@functools.cache
def _library() -> Any:  # torch.library.Library, which torch leaves untyped
    """Its operators live as long as it does; the cache keeps it."""
    return torch.library.Library('torchvision', 'DEF')  # type: ignore[no-untyped-call]


def suppress_overlaps(
    dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """Non-maximum suppression: best box first, drop what overlaps it, and so on.

    Args:
        dets: Boxes x1, y1, x2, y2. Shape (n, 4). [px]
        scores: Shape (n,).
        iou_threshold: A box is dropped when its intersection over union is above this. [-]

    Returns:
        Indices of the kept boxes by falling score. Shape (k,).
    """
    if dets.is_quantized:
        dets, scores = dets.dequantize(), scores.dequantize()
    areas = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    order = scores.argsort(descending=True, stable=True)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(dets[best, :2], dets[rest, :2])
        high = torch.minimum(dets[best, 2:], dets[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        order = rest[shared <= iou_threshold * (areas[best] + areas[rest] - shared)]
    return torch.stack(kept) if kept else order
