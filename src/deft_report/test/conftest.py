# SPDX-License-Identifier: Apache-2.0
"""Synthetic sessions: the real optimiser on a smooth reward, with drawn pictures."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from episode_records import records  # noqa: F401
from PIL import Image, ImageDraw

from deft_cem.optimisers.cem import CrossEntropyMethod, initial_standard_deviation
from deft_core.camera import ColorImage
from deft_core.episode import Episode, Outcome, Phase, VideoFrame
from deft_core.grasp import GRASP_DIMENSION, GraspParameters, GraspPrior, GraspResidual
from deft_report.run import RunRecord

OBJECTS = ('mug_red', 'mug_blue', 'tumbler_green')
COLOURS = {'mug_red': '#b23a3a', 'mug_blue': '#3b62a8', 'tumbler_green': '#3f8f58'}
PRIOR = GraspPrior(
    grasp=GraspParameters(
        np.array([0.42, 0.03, 0.07]), np.array([3.0, 0.1, 0.4]), np.full(16, 0.5)
    ),
    contact_point=np.array([0.42, 0.03, 0.05]),
    contact_uncertainty=0.01,
    source='geometric 0.1.0',
    task='pick_cup',
    instruction='pick up the cup',
    calibration_id='simulated',
)
POLICY = {
    'kind': 'residual_vae',
    'details': {
        'elite_episodes': [f'sample-{index:03d}' for index in range(10)],
        'practice_episodes': 30,
        'candidates': [{'kind': 'residual_vae', 'left_out_error': 0.5, 'r2': -0.04}],
        'reason': 'residual_vae was asked for',
    },
}
# Where the synthetic optimum of the first six numbers lies, in units of Table 4.
BEST = np.array([1.4, -1.0, 1.2, -0.9, 1.5, 0.8])


def picture(seed: int, name: str, lift: float, width: int = 160) -> ColorImage:
    """A table with a cup on it, and a hand above. `lift` from 0 (on the table) to 1."""
    height = width * 3 // 4
    generator = np.random.default_rng(seed)
    image = Image.new('RGB', (width, height), '#8b7b68')
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, height * 0.22), fill='#c9cdd2')
    size = width * 0.07
    x = width * (0.5 + 0.15 * generator.uniform(-1, 1))
    base = height * (0.7 + 0.08 * generator.uniform(-1, 1))
    shadow = (x - size, base - size / 3, x + size, base + size / 3)
    pen.ellipse(shadow, fill='#6f6252')
    y = base - lift * height * 0.33
    pen.rounded_rectangle((x - size, y - 2 * size, x + size, y), size / 4, fill=COLOURS[name])
    for finger in range(4):
        left = x - size * 1.2 + finger * size * 0.7
        top = y - size * (3.6 - 1.2 * lift)
        pen.rounded_rectangle((left, top, left + size / 2, top + 2 * size), size / 4, '#30343a')
    noise = generator.normal(0.0, 4.0, (height, width, 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def frames(seed: int, name: str, success: bool, count: int, width: int) -> tuple[VideoFrame, ...]:
    """JPEG pictures at 5 Hz."""
    made = []
    for step in range(count):
        lift = max(0.0, 2.0 * step / max(count - 1, 1) - 1.0) * success
        buffer = io.BytesIO()
        Image.fromarray(picture(seed, name, lift, width)).save(buffer, format='JPEG')
        made.append(VideoFrame(stamp=100.0 + 0.2 * step, jpeg=buffer.getvalue()))
    return tuple(made)


def session(
    *,
    practice: int = 30,
    trials: int = 10,
    video_frames: int = 4,
    width: int = 96,
    seed: int = 3,
) -> RunRecord:
    """A session of the real optimiser on a smooth synthetic reward.

    Args:
        practice: Number of warm-up and fine-tuning episodes.
        trials: Number of evaluation trials, with the policy and with the prior alone.
        video_frames: Pictures per rollout video.
        width: Of every picture. [pixel].
        seed: Of everything random.
    """
    generator = np.random.default_rng(seed)
    sigma = initial_standard_deviation()
    optimiser = CrossEntropyMethod(sigma, seed)
    episodes: list[Episode] = []

    def run(
        phase: Phase, scene: int, residual: np.ndarray, mean: np.ndarray, std: np.ndarray
    ) -> float:
        distance = np.mean(np.square((residual / sigma)[:6] - BEST))
        noise = generator.normal(0.0, 0.08)
        reward = float(np.clip(np.exp(-distance / 2.6) + noise, 0.0, 1.0))
        success = bool(reward > 0.6)
        name = OBJECTS[scene % len(OBJECTS)]
        index = len(episodes)
        episodes.append(
            Episode(
                episode_id=f'sample-{index:03d}',
                index=index,
                phase=phase,
                task='pick_cup',
                object_name=name,
                scene_seed=scene,
                prior=PRIOR,
                residual=GraspResidual.from_vector(residual),
                executed=PRIOR.grasp + GraspResidual.from_vector(residual),
                outcome=Outcome.COMPLETED,
                reward=reward,
                reward_source='scripted_operator',
                success=success,
                first_image=picture(scene, name, 0.0, width),
                last_image=picture(scene, name, float(success), width),
                rollout_video=frames(scene, name, success, video_frames, width),
                sample_seed=seed,
                calibration_id='simulated',
                distribution_mean=mean,
                distribution_std=std,
                started=10.0 * index,
                ended=10.0 * index + 8.0,
            )
        )
        return reward

    for number in range(practice):
        sample = optimiser.ask()
        phase = Phase.WARM_UP if number < 10 else Phase.FINE_TUNE
        reward = run(phase, 1000 + number, sample.residual, sample.mean, sample.std)
        optimiser.tell(sample.index, reward)
    zero = np.zeros(GRASP_DIMENSION)
    for phase, residual in (
        (Phase.EVALUATE_POLICY, optimiser.recommendation if trials else zero),
        (Phase.EVALUATE_PRIOR, zero),
    ):
        for trial in range(trials):
            run(phase, 2000 + trial, residual, zero, zero)
    summary = {
        'task': 'pick_cup',
        'method': 'deft_cem_vae',
        'settings': {'evaluation_object_set': 'train'},
        'seed': seed,
        'episodes': practice,
        'wall_s': 431.2,
        'peak_rss_mb': 1834.0,
        'software': {'deft': '0.1.0', 'python': '3.11.7', 'numpy': '2.4.6', 'mujoco': '4.0.0'},
    }
    return RunRecord(
        name='pick_cup_seed3',
        episodes=tuple(episodes),
        summary=summary if trials else None,
        policy=POLICY if trials else None,
    )


@pytest.fixture(name='make_session', scope='session')
def _make_session() -> Callable[..., RunRecord]:
    """The builder above; test modules cannot import it."""
    return session


@pytest.fixture(name='full', scope='session')
def _full() -> RunRecord:
    """Thirty practice episodes, ten trials with the policy, ten with the prior alone."""
    return session()


@pytest.fixture(name='partial', scope='session')
def _partial() -> RunRecord:
    """Stopped in the warm-up: no summary, no policy, no evaluation."""
    return session(practice=7, trials=0)
