# SPDX-License-Identifier: Apache-2.0
"""The light image encoder, the choice of an encoder, and the projection of the condition."""

from __future__ import annotations

import numpy as np
import pytest

from deft_cem.encoders.gradient_color import GradientColorEncoder
from deft_cem.encoders.registry import make_encoder
from deft_cem.policies.condition import SCORE_LIMIT, BlockProjection
from deft_core.errors import InvalidInputError, TrainingError


def scene(column: int, color: tuple[int, int, int] = (200, 40, 40)) -> np.ndarray:
    """A coloured box on a grey table."""
    image = np.full((240, 320, 3), 128, dtype=np.uint8)
    image[100:160, column : column + 50] = color
    return image


def test_features_are_fixed_in_size_bounded_and_repeatable() -> None:
    encoder = GradientColorEncoder()
    for shape in ((240, 320, 3), (480, 640, 3), (16, 16, 3)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        features = encoder.encode(image)
        assert features.shape == (encoder.dimension,)
        assert np.all((features >= 0.0) & (features <= 1.0))
        np.testing.assert_array_equal(features, encoder.encode(image.copy()))


def test_features_tell_places_and_colours_apart_and_hardly_see_noise() -> None:
    encoder = GradientColorEncoder()
    here, there = encoder.encode(scene(60)), encoder.encode(scene(200))
    blue = encoder.encode(scene(60, (40, 40, 200)))
    noise = np.random.default_rng(1).integers(-2, 3, scene(60).shape)
    noisy = encoder.encode((scene(60) + noise).astype(np.uint8))
    assert np.linalg.norm(here - noisy) < 0.3 * np.linalg.norm(here - there)
    assert np.linalg.norm(here - blue) > 1.5 * np.linalg.norm(here - noisy)


def test_gradients_do_not_see_brightness() -> None:
    encoder = GradientColorEncoder()
    ramp = np.tile(np.linspace(40, 120, 128).astype(np.uint8)[None, :, None], (128, 1, 3))
    gradients = slice(0, 8 * 8 * 9)
    np.testing.assert_allclose(
        encoder.encode(ramp)[gradients], encoder.encode(ramp + 40)[gradients], atol=0.1
    )


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((32, 32), dtype=np.uint8),
        np.zeros((32, 32, 4), dtype=np.uint8),
        np.zeros((32, 32, 3)),
        np.zeros((8, 32, 3), dtype=np.uint8),
    ],
)
def test_other_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match='image must'):
        GradientColorEncoder().encode(image)


def test_unknown_encoder_is_named() -> None:
    encoder = make_encoder('gradient_color_1')
    assert (encoder.name, encoder.weights_sha256) == ('gradient_color_1', None)
    with pytest.raises(InvalidInputError, match='r3m_resnet18'):
        make_encoder('r3m_resnet8')


def test_projection_finds_the_varying_direction_and_clips() -> None:
    rng = np.random.default_rng(2)
    direction = np.array([0.6, 0.8, 0.0])
    amounts = rng.standard_normal(30)
    features = amounts[:, None] * direction + 5.0 + rng.standard_normal((30, 3)) * 1e-3
    block = BlockProjection.fit(features, 1)
    scores = block.scores(features)
    assert abs(np.corrcoef(scores[:, 0], amounts)[0, 1]) > 0.999
    assert np.std(scores) == pytest.approx(1.0, rel=0.05)
    assert abs(block.scores(features.mean(axis=0) + 100.0 * direction)[0]) == SCORE_LIMIT


def test_equal_features_give_zero_scores_and_few_rows_few_components() -> None:
    block = BlockProjection.fit(np.ones((5, 4)), 3)
    np.testing.assert_array_equal(block.scores(np.ones(4)), np.zeros(len(block.components)))
    assert len(BlockProjection.fit(np.eye(4)[:2], 3).components) == 1
    with pytest.raises(TrainingError, match='at least 2'):
        BlockProjection.fit(np.ones((1, 4)), 1)
    with pytest.raises(InvalidInputError, match='features'):
        block.scores(np.ones(5))
