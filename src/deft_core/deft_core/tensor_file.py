# SPDX-License-Identifier: Apache-2.0
"""Weights files that others publish, as plain tensors; nothing in them is executed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch

from deft_core.errors import ConfigurationError


def read_tensors(data: bytes, name: str) -> dict[str, Any]:
    """The mapping in a .safetensors, .pth or .pt file.

    Args:
        data: The file.
        name: Its name; tells the format.

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
    """Tensors by their names in the network, also those of a training checkpoint.

    Args:
        loaded: As `read_tensors` gives it: a state dictionary, or one that holds it as
            'state_dict'; the prefix of a network trained on several devices is taken off.
    """
    inner = loaded.get('state_dict')
    state = inner if isinstance(inner, Mapping) else loaded
    return {str(key).removeprefix('module.'): tensor for key, tensor in state.items()}


def load_strictly(
    network: torch.nn.Module, state: Mapping[str, Any], name: str, kind: str
) -> None:
    """Fill every tensor of a network.

    Args:
        network: Takes the tensors.
        state: Tensors by their names in the network.
        name: Of the file, for the message.
        kind: What the network is, for the message.

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
