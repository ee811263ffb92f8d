# SPDX-License-Identifier: Apache-2.0
"""Synthetic grasp landscapes: what a residual would really be worth, eleven families of them.

z is the residual in units of the first spread (Table 4), 22-D: position (3), wrist (3), joints
(16). The reward lies in 0..1 with peak 1. Every instance has its own directions and optimum; along
all directions that do not matter it falls as exp(-0.01 |z|^2), since random finger noise costs a
little. What is executed is z plus jitter: errors of perception and actuation.

L1 to L9 follow one study of what can go wrong while fine-tuning a grasp. L10 and L11 were added as
a test: settings were chosen without them, but for the last step of `optimism` and `damping`. L12
and L13 are apart from these eleven and in none of their means: their optimum lies at the edge
of what is searched first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
# Actions in active directions (n, a) and object poses (n, 2) to rewards (n,).
Reward = Callable[[FloatArray, FloatArray], FloatArray]

DIMENSION: Final = 22
INACTIVE_COST: Final = 0.01
JITTER: Final = np.concatenate([np.full(6, 0.25), np.full(16, 0.3)])  # in units of the spread
VALUE_DRAWS: Final = 128
HELD_OUT: Final = ('L10', 'L11')


@dataclass(frozen=True, eq=False)
class Landscape:
    """One instance of a family.

    Attributes:
        active: Orthonormal directions that matter. Shape (a, 22).
        reward: Of coordinates along them and of the object's pose.
        heavy_only: Its scores are always heavily noisy.
    """

    active: FloatArray
    reward: Reward
    heavy_only: bool
    _context: FloatArray = field(repr=False)
    _jitter: FloatArray = field(repr=False)

    def executed(self, z: FloatArray, context: FloatArray) -> FloatArray:
        """Reward of what is really executed, without score noise.

        Args:
            z: Shape (n, 22).
            context: Pose of the object, -1..1. Shape (n, 2).

        Returns:
            Shape (n,), 0..1.
        """
        along = z @ self.active.T
        beside = z - along @ self.active
        cost = np.exp(-INACTIVE_COST * np.sum(beside**2, axis=1))
        return np.clip(self.reward(along, context) * cost, 0.0, 1.0)

    def value(self, z: FloatArray) -> float:
        """True expected reward of deploying z: mean over fixed poses and jitters. Shape (22,)."""
        return float(self.executed(z + self._jitter, self._context).mean())

    def score(self, z: FloatArray, rng: np.random.Generator, *, heavy: bool) -> float:
        """What an operator would score after one episode.

        Args:
            z: Proposed residual. Shape (22,).
            rng: Of pose, jitter and score noise; every call takes the same number of draws.
            heavy: Scores in tenths with a spread of 0.1 and one episode in ten mis-executed,
                instead of a spread of 0.05.
        """
        context = rng.uniform(-1.0, 1.0, 2)
        jitter = JITTER * rng.standard_normal(DIMENSION)
        noise, accident, rest = rng.standard_normal(), rng.uniform(), rng.uniform(0.0, 0.3)
        reward = float(self.executed((z + jitter)[None], context[None])[0])
        if not (heavy or self.heavy_only):
            return float(np.clip(reward + 0.05 * noise, 0.0, 1.0))
        if accident < 0.1:
            reward *= rest
        return float(np.round(np.clip(reward + 0.1 * noise, 0.0, 1.0), 1))


def make_landscape(family: str, seed: int) -> Landscape:
    """Instance of a family.

    Args:
        family: Name in `FAMILIES` or `EDGES`.
        seed: Equal seeds give equal instances.
    """
    rng = np.random.default_rng([seed, int(family[1:]), 0])
    active, reward = {**FAMILIES, **EDGES}[family](rng)
    draws = np.random.default_rng([seed, int(family[1:]), 1])
    return Landscape(
        active,
        reward,
        heavy_only=family == 'L5',
        _context=draws.uniform(-1.0, 1.0, (VALUE_DRAWS, 2)),
        _jitter=JITTER * draws.standard_normal((VALUE_DRAWS, DIMENSION)),
    )


def _rotation(rng: np.random.Generator, size: int) -> FloatArray:
    """Random orthonormal rows. Shape (size, size)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)), dtype=np.float64)


def _unit(rng: np.random.Generator, size: int) -> FloatArray:
    vector = rng.standard_normal(size)
    return vector / np.linalg.norm(vector)


def _rows(*parts: tuple[FloatArray, int]) -> FloatArray:
    """Stack directions of blocks (rows and the first coordinate of their block) in 22-D."""
    stacked = []
    for rows, start in parts:
        wide = np.zeros((len(rows), DIMENSION))
        wide[:, start : start + rows.shape[1]] = rows
        stacked.append(wide)
    return np.concatenate(stacked)


COMMON_CLOSE: Final = np.full(16, 0.25)


def _finger_direction(rng: np.random.Generator) -> FloatArray:
    """Unit direction of the joints with a common-close share of U(0.3, 1). Shape (1, 16)."""
    share = rng.uniform(0.3, 1.0)
    other = rng.standard_normal(16)
    other -= COMMON_CLOSE * (COMMON_CLOSE @ other)
    other /= np.linalg.norm(other)
    return (share * COMMON_CLOSE + np.sqrt(1.0 - share**2) * other)[None]


def _arm_and_fingers(rng: np.random.Generator, fingers: int = 1) -> FloatArray:
    """Two position, two wrist and some finger directions. Shape (4 + fingers, 22)."""
    position, wrist = _rotation(rng, 3)[:2], _rotation(rng, 3)[:2]
    joints = np.concatenate([_finger_direction(rng) for _ in range(fingers)])
    joints = np.linalg.qr(joints.T)[0].T if fingers > 1 else joints
    return _rows((position, 0), (wrist, 3), (joints, 6))


def _gaussian(distance_squared: FloatArray, width: float) -> FloatArray:
    return np.exp(-distance_squared / (2.0 * width**2))


Family = Callable[[np.random.Generator], tuple[FloatArray, Reward]]


def _smooth(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _arm_and_fingers(rng)
    best = 2.2 * _unit(rng, 5)
    return active, lambda a, _: _gaussian(np.sum((a - best) ** 2, axis=1), 1.4)


def _funnel(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _arm_and_fingers(rng)
    best = 2.0 * _unit(rng, 5)

    def reward(a: FloatArray, _: FloatArray) -> FloatArray:
        distance = np.linalg.norm(a - best, axis=1)
        inside = 0.15 + 0.85 * np.clip(1.25 * (1.0 - distance / 2.2), 0.0, 1.0)
        return np.where(distance < 2.2, inside, 0.0)

    return active, reward


def _bimodal(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _rows((_rotation(rng, 3), 3))

    def reward(a: FloatArray, _: FloatArray) -> FloatArray:
        beside = np.sum(a[:, 1:] ** 2, axis=1)
        high = _gaussian((a[:, 0] - 2.2) ** 2 + beside, 0.9)
        return np.maximum(high, 0.65 * _gaussian((a[:, 0] + 1.8) ** 2 + beside, 0.9))

    return active, reward


def _ridge(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    position, wrist = _rotation(rng, 3)[:2], _rotation(rng, 3)[:2]
    active = _rows((position, 0), (wrist, 3))
    angles = rng.uniform(0.0, 2.0 * np.pi, 2)
    signs = rng.choice([-1.0, 1.0], (2, 2))

    def reward(a: FloatArray, _: FloatArray) -> FloatArray:
        exponent = np.zeros(len(a))
        for pair, angle in enumerate(angles):
            x, y = a[:, pair], a[:, pair + 2]
            along = np.cos(angle) * x + np.sin(angle) * y - 2.5 * signs[pair, 0]
            across = -np.sin(angle) * x + np.cos(angle) * y - 0.6 * signs[pair, 1]
            exponent += (along / 2.5) ** 2 + (across / 0.6) ** 2
        return np.exp(-0.5 * exponent)

    return active, reward


def _noisy(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _arm_and_fingers(rng, fingers=2)
    best = 2.2 * _unit(rng, 6)
    return active, lambda a, _: _gaussian(np.sum((a - best) ** 2, axis=1), 1.6)


def _bias(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _rows((_rotation(rng, 3)[:2], 0), (_rotation(rng, 3)[:2], 3))
    best = rng.uniform(1.0, 3.0, 4) * rng.choice([-1.0, 1.0], 4)
    return active, lambda a, _: _gaussian(np.sum((a - best) ** 2, axis=1), 2.4)


def _context(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _rows((_rotation(rng, 3)[:2], 0), (_rotation(rng, 3)[:2], 3))
    best = 1.6 * _unit(rng, 4)
    moves = 1.5 * _rotation(rng, 4)[:2]

    def reward(a: FloatArray, context: FloatArray) -> FloatArray:
        return _gaussian(np.sum((a - best - context @ moves) ** 2, axis=1), 1.2)

    return active, reward


def _synergy(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _rows((_rotation(rng, 3)[:2], 0), (_rotation(rng, 3)[:2], 3), (COMMON_CLOSE[None], 6))
    best = 1.5 * _unit(rng, 4)
    close = rng.uniform(4.0, 6.0) * rng.choice([-1.0, 1.0])

    def reward(a: FloatArray, _: FloatArray) -> FloatArray:
        arm = _gaussian(np.sum((a[:, :4] - best) ** 2, axis=1), 1.4)
        return arm * _gaussian((a[:, 4] - close) ** 2, 2.5)

    return active, reward


def _fingers(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    joints = rng.standard_normal((3, 16))
    joints -= np.outer(joints @ COMMON_CLOSE, COMMON_CLOSE)
    active = _rows((np.linalg.qr(joints.T)[0].T, 6))
    best = 2.2 * _unit(rng, 3)
    return active, lambda a, _: _gaussian(np.sum((a - best) ** 2, axis=1), 1.6)


def _stages(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    """Scored in stages as an operator does, with the table as a cliff: below it, nothing."""
    active = _arm_and_fingers(rng)
    best = 2.0 * _unit(rng, 5)
    normal = _unit(rng, 2)
    # The cliff stands 0.8 beyond the optimum, and at least 0.8 from the prior.
    edge = max(float(normal @ best[:2]), 0.0) + 0.8
    radii = np.array([0.9, 1.5, 2.1, 2.8])
    steps = np.array([0.4, 0.25, 0.2, 0.15])

    def reward(a: FloatArray, _: FloatArray) -> FloatArray:
        distance = np.linalg.norm(a - best, axis=1)
        scored = (distance[:, None] < radii) @ steps
        return np.where(a[:, :2] @ normal < edge, scored, 0.0)

    return active, reward


def _dense(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    """Everything matters a little: optimum and tolerance are drawn for all 22 parameters."""
    widths = np.exp(rng.uniform(np.log(1.5), np.log(6.0), DIMENSION))
    best = rng.standard_normal(DIMENSION)

    def reward(a: FloatArray, _: FloatArray) -> FloatArray:
        return np.exp(-0.5 * np.sum(((a - best) / widths) ** 2, axis=1))

    return np.eye(DIMENSION), reward


def _edge(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _arm_and_fingers(rng)
    best = 3.0 * _unit(rng, 5)
    return active, lambda a, _: _gaussian(np.sum((a - best) ** 2, axis=1), 1.4)


def _every_edge(rng: np.random.Generator) -> tuple[FloatArray, Reward]:
    active = _rows((_rotation(rng, 3)[:2], 0), (_rotation(rng, 3)[:2], 3))
    best = 3.0 * rng.choice([-1.0, 1.0], 4)
    return active, lambda a, _: _gaussian(np.sum((a - best) ** 2, axis=1), 3.2)


EDGES: Final[Mapping[str, Family]] = MappingProxyType({'L12': _edge, 'L13': _every_edge})
FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        'L1': _smooth,
        'L2': _funnel,
        'L3': _bimodal,
        'L4': _ridge,
        'L5': _noisy,
        'L6': _bias,
        'L7': _context,
        'L8': _synergy,
        'L9': _fingers,
        'L10': _stages,
        'L11': _dense,
    }
)
DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        'L1': 'smooth',
        'L2': 'funnel: nothing beyond a radius',
        'L3': 'two modes of the wrist',
        'L4': 'two narrow ridges',
        'L5': 'always heavy noise',
        'L6': 'large bias of the prior',
        'L7': 'optimum moves with the object',
        'L8': 'the whole hand must close',
        'L9': 'single fingers, against synergies',
        'L10': 'scored in stages, with a cliff (held out)',
        'L11': 'all 22 parameters matter (held out)',
        'L12': 'optimum 3 spreads away',
        'L13': 'optimum 3 spreads away in each direction',
    }
)
