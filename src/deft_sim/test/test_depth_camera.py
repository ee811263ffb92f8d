# SPDX-License-Identifier: Apache-2.0
"""The faults of the depth camera, on made-up surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from deft_sim.configuration import SimulationSettings
from deft_sim.depth_camera import DepthCameraModel


@pytest.fixture(scope='module')
def model(settings: SimulationSettings) -> DepthCameraModel:
    return DepthCameraModel(settings.cell.camera)


def wall(distance: float) -> np.ndarray:
    return np.full((480, 640), distance, dtype=np.float32)


def test_noise_grows_with_the_square_of_the_distance(model: DepthCameraModel) -> None:
    spread = []
    for distance in (0.5, 1.0, 2.0):
        noisy = model.depth(wall(distance), np.random.default_rng(0))
        spread.append(float(np.nanstd(noisy)))
    assert spread[2] / spread[1] == pytest.approx(4.0, rel=0.1)
    assert 0.001 < spread[1] < 0.004


def test_depth_is_unbiased_and_in_whole_millimetres(model: DepthCameraModel) -> None:
    noisy = model.depth(wall(0.8), np.random.default_rng(1))
    assert float(np.nanmean(noisy)) == pytest.approx(0.8, abs=2e-4)
    millimetres = noisy[np.isfinite(noisy)].astype(np.float64) * 1000.0
    np.testing.assert_allclose(millimetres, np.round(millimetres), atol=1e-3)


def test_a_jump_loses_the_pixels_beside_it(model: DepthCameraModel) -> None:
    exact = wall(0.8)
    exact[:, 320:] = 1.0
    missing = np.isnan(model.depth(exact, np.random.default_rng(2)))
    assert missing[:, 318:321].mean() > 0.7
    assert missing[:, :300].mean() < 0.05


def test_out_of_range_is_missing(model: DepthCameraModel) -> None:
    assert np.isnan(model.depth(wall(0.1), np.random.default_rng(3))).all()
    assert np.isnan(model.depth(wall(5.0), np.random.default_rng(3))).all()


def test_grazing_surfaces_lose_pixels(
    model: DepthCameraModel, settings: SimulationSettings
) -> None:
    camera = settings.cell.camera
    # A floor 2 cm below the lens: the rays that meet it within range are nearly parallel to it.
    rows = (np.arange(camera.height) - camera.cy) / camera.fy
    with np.errstate(divide='ignore'):
        distance = np.where(rows > 0.0, 0.02 / rows, 10.0)
    exact = np.broadcast_to(distance[:, None], (camera.height, camera.width)).astype(np.float32)
    seen = (exact > 0.3) & (exact < 0.6)
    missing = np.isnan(model.depth(exact, np.random.default_rng(4)))
    assert missing[seen].mean() > 0.5


def test_holes_are_a_small_share(model: DepthCameraModel, settings: SimulationSettings) -> None:
    missing = np.isnan(model.depth(wall(0.8), np.random.default_rng(5))).mean()
    assert 0.3 * settings.cell.camera.hole_share < missing < 2.0 * settings.cell.camera.hole_share


def test_color_noise_keeps_the_mean(model: DepthCameraModel) -> None:
    exact = np.full((480, 640, 3), 120, dtype=np.uint8)
    noisy = model.color(exact, np.random.default_rng(6))
    assert noisy.dtype == np.uint8
    assert float(noisy.mean()) == pytest.approx(120.0, abs=0.1)
    assert 1.0 < float(noisy.std()) < 2.0
