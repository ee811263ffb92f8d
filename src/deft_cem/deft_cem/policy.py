# SPDX-License-Identifier: Apache-2.0
"""The residual policy pi(I_0, xi) of section 3.2 as it is saved, loaded and asked.

A policy is two files: policy.safetensors (numbers only) and policy.json (what they are, how
they were made, how good they are). Loading checks names, shapes, types and the checksum; it
never executes anything.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch

from deft_cem.condition import PRIOR_FEATURES, BlockProjection, ConditionProjection, prior_features
from deft_cem.image_encoder import ImageEncoder, make_encoder
from deft_cem.residual_vae import VaeSettings, Weights, decode, weight_shapes
from deft_core.configuration import build
from deft_core.errors import ConfigurationError, InvalidInputError, TrainingError
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspResidual

FloatArray = npt.NDArray[np.float64]
SCHEMA_VERSION: Final = 1
KIND: Final = 'residual_vae'
WEIGHTS_FILE: Final = 'policy.safetensors'
CONFIG_FILE: Final = 'policy.json'
_MAXIMUM_WEIGHT_BYTES: Final = 64 * 1024 * 1024
_MAXIMUM_CONFIG_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, eq=False)
class ResidualVaePolicy:
    """Conditional VAE with everything between an image and a residual.

    Attributes:
        encoder: phi.
        projection: From phi(I) and xi to c.
        sigma: Initial standard deviation of practice. Shape (22,). [m | rad | rad]
        settings: Sizes of the network.
        weights: Tensors of the network.
        latent: 'sample' or 'mean'.
    """

    encoder: ImageEncoder
    projection: ConditionProjection
    sigma: FloatArray
    settings: VaeSettings
    weights: Weights
    latent: str

    def predict(
        self, image: npt.NDArray[np.uint8], prior: GraspParameters, rng: np.random.Generator
    ) -> GraspResidual:
        """Residual for a scene: z ~ N(0, I), delta = p(z, c).

        Args:
            image: First image I_0, RGB. Shape (height, width, 3).
            prior: xi, base frame.
            rng: Source of z; not touched where latent is 'mean'.

        Returns:
            delta, to be added to xi.
        """
        condition = self.projection(self.encoder.encode(image), prior_features(prior, self.sigma))
        z = np.zeros(self.settings.latent)
        if self.latent == 'sample':
            z = rng.standard_normal(self.settings.latent)
        with torch.no_grad():
            whitened = decode(
                self.weights, torch.tensor(z)[None, None], torch.tensor(condition)[None, None]
            )
        return GraspResidual.from_vector(whitened.numpy()[0, 0] * self.sigma)

    def save(self, directory: Path, details: dict[str, Any]) -> None:
        """Write the two files; each appears whole or not at all.

        Args:
            directory: Folder of the policy.
            details: JSON values that say how the policy was made and how good it is.

        Raises:
            TrainingError: The folder cannot be written.
        """
        tensors = {f'vae.{name}': tensor.numpy()[0] for name, tensor in self.weights.items()}
        tensors['sigma'] = self.sigma
        tensors['image.mean'] = self.projection.image.mean
        tensors['image.components'] = self.projection.image.components
        tensors['prior.mean'] = self.projection.prior.mean
        tensors['prior.components'] = self.projection.prior.components
        data = safetensors.numpy.save(
            {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        )
        config = {
            'schema_version': SCHEMA_VERSION,
            'kind': KIND,
            'weights_sha256': hashlib.sha256(data).hexdigest(),
            'encoder': self.encoder.name,
            'image_components': len(self.projection.image.components),
            'prior_components': len(self.projection.prior.components),
            'latent': self.latent,
            'vae': {name: getattr(self.settings, name) for name in _VAE_FIELDS},
            'details': details,
        }
        try:
            _replace(directory / WEIGHTS_FILE, data)
            text = json.dumps(config, indent=2, allow_nan=False)
            _replace(directory / CONFIG_FILE, text.encode() + b'\n')
        except OSError as error:
            raise TrainingError(f'cannot write the policy to {directory}: {error}') from error


_VAE_FIELDS: Final = tuple(VaeSettings.__dataclass_fields__)
_CONFIG_KEYS: Final = frozenset(
    {
        'schema_version',
        'kind',
        'weights_sha256',
        'encoder',
        'image_components',
        'prior_components',
        'latent',
        'vae',
        'details',
    }
)


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file, wait for the disk, rename over it."""
    temporary = path.with_name(f'{path.name}.part')
    with temporary.open('wb') as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_policy_config(directory: Path) -> dict[str, Any]:
    """Read and check policy.json.

    Raises:
        TrainingError: Missing, broken, of a newer version, or of another kind.
    """
    path = directory / CONFIG_FILE
    try:
        if path.stat().st_size > _MAXIMUM_CONFIG_BYTES:
            raise TrainingError(f'{path} is larger than 1 MB and is not a policy description')
        config = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise TrainingError(f'cannot read the policy description {path}: {error}') from error
    if not isinstance(config, dict) or set(config) != _CONFIG_KEYS:
        raise TrainingError(f'{path} must hold exactly the keys {sorted(_CONFIG_KEYS)}')
    if config['schema_version'] != SCHEMA_VERSION or config['kind'] != KIND:
        raise TrainingError(
            f'{path} is {config["kind"]!r} of schema version {config["schema_version"]!r}, '
            f'expected {KIND!r} of version {SCHEMA_VERSION}; train the policy again'
        )
    return config


def load_policy(directory: Path) -> ResidualVaePolicy:
    """Load a policy after checking both files.

    Args:
        directory: Folder with policy.safetensors and policy.json.

    Raises:
        TrainingError: A file is missing, damaged, or does not fit the other.
    """
    config = read_policy_config(directory)
    path = directory / WEIGHTS_FILE
    try:
        if path.stat().st_size > _MAXIMUM_WEIGHT_BYTES:
            raise TrainingError(f'{path} is larger than 64 MB and is not a policy')
        data = path.read_bytes()
    except OSError as error:
        raise TrainingError(f'cannot read the policy {path}: {error}') from error
    if hashlib.sha256(data).hexdigest() != config['weights_sha256']:
        raise TrainingError(f'{path} does not have the checksum in {CONFIG_FILE}; copy both again')
    try:
        tensors = safetensors.numpy.load(data)
        settings = build(VaeSettings, config['vae'], f'{directory / CONFIG_FILE}: vae')
        encoder = make_encoder(str(config['encoder']))
    except (
        safetensors.SafetensorError,
        ConfigurationError,
        InvalidInputError,
        TypeError,
    ) as error:
        raise TrainingError(f'the policy in {directory} cannot be used: {error}') from error
    _check_tensors(tensors, _expected_shapes(config, settings, encoder), path)
    latent = config['latent']
    if latent not in {'sample', 'mean'}:
        raise TrainingError(f'{directory / CONFIG_FILE}: latent is {latent!r}, not sample or mean')
    return ResidualVaePolicy(
        encoder=encoder,
        projection=ConditionProjection(
            BlockProjection(tensors['image.mean'], tensors['image.components']),
            BlockProjection(tensors['prior.mean'], tensors['prior.components']),
        ),
        sigma=tensors['sigma'],
        settings=settings,
        weights={
            name.removeprefix('vae.'): torch.tensor(values)[None]
            for name, values in tensors.items()
            if name.startswith('vae.')
        },
        latent=latent,
    )


def _expected_shapes(
    config: dict[str, Any], settings: VaeSettings, encoder: ImageEncoder
) -> dict[str, list[int]]:
    """Name and shape of every tensor of the file that policy.json describes."""
    sizes = [config['image_components'], config['prior_components']]
    if not all(isinstance(size, int) and 0 <= size <= 64 for size in sizes):
        raise TrainingError(f'{CONFIG_FILE}: component numbers are {sizes}, expected 0 to 64')
    shapes = {
        f'vae.{name}': shape
        for name, shape in weight_shapes(settings, sum(sizes), GRASP_DIMENSION).items()
    }
    shapes['sigma'] = [GRASP_DIMENSION]
    for block, size, length in (
        ('image', sizes[0], encoder.dimension),
        ('prior', sizes[1], PRIOR_FEATURES),
    ):
        shapes[f'{block}.mean'] = [length]
        shapes[f'{block}.components'] = [size, length]
    return shapes


def _check_tensors(
    tensors: dict[str, npt.NDArray[Any]], shapes: dict[str, list[int]], path: Path
) -> None:
    if set(tensors) != set(shapes):
        raise TrainingError(f'{path} holds {sorted(tensors)}, expected {sorted(shapes)}')
    for name, shape in shapes.items():
        values = tensors[name]
        if values.dtype != np.float64 or list(values.shape) != shape:
            raise TrainingError(
                f'{path}: {name} is {values.dtype} of shape {list(values.shape)}, '
                f'expected float64 of shape {shape}'
            )
        if not np.all(np.isfinite(values)):
            raise TrainingError(f'{path}: {name} holds numbers that are not finite')
    if not np.all(tensors['sigma'] > 0.0):
        raise TrainingError(f'{path}: sigma must be > 0 in every parameter')
