# SPDX-License-Identifier: Apache-2.0
"""The residual policy pi(I_0, xi) of section 3.2 as it is asked, saved and loaded.

A policy is two files: policy.safetensors (numbers only) and policy.json (what they are, how they
were made, how good they are). Loading checks names, shapes, types and checksums; it never
executes anything.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch

from deft_cem.encoders.color_image import ImageEncoder
from deft_cem.encoders.registry import make_encoder
from deft_cem.policies.choice import KINDS
from deft_cem.policies.condition import (
    PRIOR_FEATURES,
    BlockProjection,
    ConditionProjection,
    prior_features,
)
from deft_cem.policies.interface import PolicyMethod, Tensors
from deft_core.configuration import build, nearest
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError, TrainingError
from deft_core.files import read_bytes, read_json, write_atomically
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspResidual
from deft_core.validation import FloatArray

SCHEMA_VERSION: Final = 2
WEIGHTS_FILE: Final = 'policy.safetensors'
CONFIG_FILE: Final = 'policy.json'
_MODEL: Final = 'model.'
_MAXIMUM_WEIGHT_BYTES: Final = 64 * 1024 * 1024
_MAXIMUM_COMPONENTS: Final = 64
_CONFIG_KEYS: Final = frozenset(
    {
        'schema_version',
        'kind',
        'settings',
        'weights_sha256',
        'encoder',
        'encoder_weights_sha256',
        'image_components',
        'prior_components',
        'details',
    }
)


@dataclass(frozen=True, eq=False)
class ResidualPolicy:
    """Everything between an image and a residual: phi, c, what was learned, and the units.

    `sigma` is the first spread of practice. Shape (22,). [m | rad | rad]
    """

    encoder: ImageEncoder
    projection: ConditionProjection
    sigma: FloatArray
    method: PolicyMethod
    tensors: Tensors

    def predict(
        self, image: npt.NDArray[np.uint8], prior: GraspParameters, rng: np.random.Generator
    ) -> GraspResidual:
        """Delta for the first RGB image (height, width, 3) and the prior xi in the base frame."""
        condition = self.projection(self.encoder.encode(image), prior_features(prior, self.sigma))
        with torch.no_grad():
            scaled = self.method.predict(
                self.tensors, condition, prior.to_vector() / self.sigma, rng
            )
        return GraspResidual.from_vector(scaled * self.sigma)

    def save(self, directory: Path, details: dict[str, Any]) -> None:
        """Write the two files; each appears whole or not at all. `details` are JSON values.

        Raises:
            TrainingError: The folder cannot be written.
        """
        tensors = {f'{_MODEL}{name}': values for name, values in self.tensors.items()}
        tensors['sigma'] = self.sigma
        for name, block in (('image', self.projection.image), ('prior', self.projection.prior)):
            tensors[f'{name}.mean'] = block.mean
            tensors[f'{name}.components'] = block.components
        data = safetensors.numpy.save(
            {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        )
        config = {
            'schema_version': SCHEMA_VERSION,
            'kind': self.method.kind,
            'settings': asdict(self.method.settings),
            'weights_sha256': hashlib.sha256(data).hexdigest(),
            'encoder': self.encoder.name,
            'encoder_weights_sha256': self.encoder.weights_sha256,
            'image_components': len(self.projection.image.components),
            'prior_components': len(self.projection.prior.components),
            'details': details,
        }
        try:
            write_atomically(directory / WEIGHTS_FILE, data)
            text = json.dumps(config, indent=2, allow_nan=False)
            write_atomically(directory / CONFIG_FILE, f'{text}\n')
        except RecordingError as error:
            raise TrainingError(f'cannot write the policy: {error}') from error


def read_policy_config(directory: Path) -> dict[str, Any]:
    """Read policy.json; refuse what is broken, of another version, or of an unknown kind."""
    path = directory / CONFIG_FILE
    try:
        config = read_json(path)
    except ConfigurationError as error:
        raise TrainingError(f'cannot read the policy description: {error}') from error
    if config.get('schema_version') != SCHEMA_VERSION:
        raise TrainingError(
            f'{path} has schema version {config.get("schema_version")!r}, expected '
            f'{SCHEMA_VERSION}; train the policy again'
        )
    if set(config) != _CONFIG_KEYS:
        raise TrainingError(f'{path} must hold exactly the keys {sorted(_CONFIG_KEYS)}')
    if not isinstance(config['kind'], str) or config['kind'] not in KINDS:
        raise TrainingError(
            f'{path} describes an unknown kind of policy, {config["kind"]!r}; '
            f'{nearest(str(config["kind"]), KINDS)}'
        )
    return config


def load_policy(directory: Path) -> ResidualPolicy:
    """Load a policy after checking both files.

    Raises:
        TrainingError: A file is missing, damaged, or does not fit the other; or the weights of
            the image encoder are missing or not those of the training.
    """
    config = read_policy_config(directory)
    path = directory / WEIGHTS_FILE
    try:
        data = read_bytes(path, _MAXIMUM_WEIGHT_BYTES)
    except ConfigurationError as error:
        raise TrainingError(f'cannot read the policy: {error}') from error
    if hashlib.sha256(data).hexdigest() != config['weights_sha256']:
        raise TrainingError(f'{path} does not have the checksum in {CONFIG_FILE}; copy both again')
    settings_type, make_method, _ = KINDS[config['kind']]
    try:
        tensors = safetensors.numpy.load(data)
        method = make_method(
            build(settings_type, config['settings'], f'{directory / CONFIG_FILE}: settings')
        )
        encoder = make_encoder(str(config['encoder']))
    except (
        safetensors.SafetensorError,
        ConfigurationError,
        InvalidInputError,
        KeyError,  # safetensors: a type of number that numpy lacks
        ValueError,  # safetensors: a shape too big for numpy
        OverflowError,
    ) as error:
        raise TrainingError(f'the policy in {directory} cannot be used: {error}') from error
    if encoder.weights_sha256 != config['encoder_weights_sha256']:
        raise TrainingError(
            f'the policy in {directory} was trained with other weights of {encoder.name} '
            f'(SHA-256 {config["encoder_weights_sha256"]}, here {encoder.weights_sha256})'
        )
    _check_tensors(tensors, _expected_shapes(config, method, encoder), path)
    policy = ResidualPolicy(
        encoder=encoder,
        projection=ConditionProjection(
            BlockProjection(tensors['image.mean'], tensors['image.components']),
            BlockProjection(tensors['prior.mean'], tensors['prior.components']),
        ),
        sigma=tensors['sigma'],
        method=method,
        tensors={
            name.removeprefix(_MODEL): values
            for name, values in tensors.items()
            if name.startswith(_MODEL)
        },
    )
    # The first prediction of a process sets libraries up for 0.2 s: not while a robot waits.
    black = np.zeros((480, 640, 3), dtype=np.uint8)
    nowhere = GraspParameters.from_vector(np.zeros(GRASP_DIMENSION))
    policy.predict(black, nowhere, np.random.default_rng(0))
    return policy


def _expected_shapes(
    config: dict[str, Any], method: PolicyMethod, encoder: ImageEncoder
) -> dict[str, list[int]]:
    """Name and shape of every tensor of the file that policy.json describes."""
    sizes = [config['image_components'], config['prior_components']]
    if not all(type(size) is int and 0 <= size <= _MAXIMUM_COMPONENTS for size in sizes):
        raise TrainingError(
            f'{CONFIG_FILE}: component numbers are {sizes}, expected 0 to {_MAXIMUM_COMPONENTS}'
        )
    shapes = {f'{_MODEL}{name}': shape for name, shape in method.shapes(sum(sizes)).items()}
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
        odd = sorted(set(tensors) ^ set(shapes))
        raise TrainingError(f'{path} misses or should not hold: {", ".join(odd[:5])}')
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
