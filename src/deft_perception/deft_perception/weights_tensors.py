# SPDX-License-Identifier: Apache-2.0
"""Tensors of a checked weights file; nothing in it can run code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

from deft_core.errors import ConfigurationError


def read_tensors(data: bytes, name: str) -> dict[str, torch.Tensor]:
    """Names and tensors of a `.safetensors` file or of a PyTorch state dictionary.

    Args:
        data: The file's bytes.
        name: The file's name; its ending tells the format.

    Raises:
        ConfigurationError: It cannot be read, or holds something else than tensors.
    """
    try:
        found: Any
        if name.endswith('.safetensors'):
            found = safetensors.torch.load(data)
        else:
            found = torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
    # torch documents no error type for a file that is not one of its own or holds objects.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigurationError(f'{name} holds no plain tensors ({reason}).') from error
    if isinstance(found, dict) and isinstance(found.get('state_dict'), dict):
        found = found['state_dict']
    if not isinstance(found, dict) or not all(
        isinstance(value, torch.Tensor) for value in found.values()
    ):
        raise ConfigurationError(f'{name} holds something else than a dictionary of tensors.')
    return {str(key).removeprefix('module.'): value for key, value in found.items()}


def fill(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    """Give a network all its tensors, for inference.

    Raises:
        ConfigurationError: Names or sizes differ, or numbers are not finite.
    """
    expected = network.state_dict()
    differing = sorted(
        key
        for key in set(tensors) | set(expected)
        if key not in tensors or key not in expected or tensors[key].shape != expected[key].shape
    )
    if differing:
        raise ConfigurationError(
            f'{name} holds another model than the one asked for: {len(differing)} tensors are '
            f'missing, unknown or of another size, first {differing[0]!r}.'
        )
    broken = [key for key, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ConfigurationError(f'{name}: {broken[0]} holds numbers that are not finite.')
    network.load_state_dict(dict(tensors))
    network.eval().requires_grad_(False)
