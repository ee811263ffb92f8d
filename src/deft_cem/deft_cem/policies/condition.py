# SPDX-License-Identifier: Apache-2.0
"""The condition c = (phi(I), xi) of section 3.2, brought down to a few numbers.

Ten elites cannot support a network on 768 image features and 22 prior parameters: it would
memorise which image goes with which residual. Both parts are therefore projected on their first
principal components over all episodes of the practice (this uses no reward), and conditions
outside what was practised are pulled to the border of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft_core.errors import InvalidInputError, TrainingError
from deft_core.grasp import GraspParameters
from deft_core.validation import FloatArray

# Scores are in units of the block's largest standard deviation; 2.5 of them hold 99 % of a
# Gaussian, so a clipped score means "unlike anything practised".
SCORE_LIMIT = 2.5
PRIOR_FEATURES = 25


def prior_features(grasp: GraspParameters, sigma: FloatArray) -> FloatArray:
    """Numbers of xi without an Euler-angle jump, in units of the first spread (22,) of practice.

    Shape (25,): position (3), first two columns of the wrist rotation (6), joints (16).
    """
    columns = grasp.rotation_matrix()[:, :2].T.ravel()
    return np.concatenate(
        [
            grasp.position / sigma[:3],
            columns / sigma[3],
            grasp.joint_positions / sigma[6:],
        ]
    )


@dataclass(frozen=True, eq=False)
class BlockProjection:
    """Principal components (k, d) of one part of the condition, over the largest spread."""

    mean: FloatArray
    components: FloatArray

    @classmethod
    def fit(cls, features: FloatArray, size: int) -> BlockProjection:
        """Find the first `size` principal components of (n, d); no more than n - 1 exist.

        Raises:
            TrainingError: Fewer than two rows, or features that are not finite.
        """
        if features.ndim != 2 or features.shape[0] < 2 or not np.all(np.isfinite(features)):
            raise TrainingError(
                f'a condition needs at least 2 episodes with finite features, '
                f'got an array of shape {features.shape}'
            )
        mean = features.mean(axis=0)
        _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
        kept = min(size, features.shape[0] - 1, directions.shape[0])
        spread = singular[0] / np.sqrt(features.shape[0])
        # All episodes alike: every score is zero, whatever the scale.
        scale = spread if spread > 1e-9 else 1.0
        directions = directions[:kept]
        # SVD leaves the sign open; the largest entry is made positive so that files compare.
        largest = np.abs(directions).argmax(axis=1)
        signs = np.sign(directions[np.arange(kept), largest])
        return cls(mean, directions * signs[:, None] / scale)

    def scores(self, feature: FloatArray) -> FloatArray:
        """Project features: (..., d) -> (..., k), clipped to the practised range."""
        if feature.shape[-1] != self.mean.size:
            raise InvalidInputError(
                f'the condition has {feature.shape[-1]} features, expected {self.mean.size}'
            )
        return np.clip((feature - self.mean) @ self.components.T, -SCORE_LIMIT, SCORE_LIMIT)


@dataclass(frozen=True, eq=False)
class ConditionProjection:
    """c: scores of phi(I) and scores of xi, one after the other."""

    image: BlockProjection
    prior: BlockProjection

    @property
    def dimension(self) -> int:
        """Length of c."""
        return len(self.image.components) + len(self.prior.components)

    def __call__(self, image: FloatArray, prior: FloatArray) -> FloatArray:
        """Build c from phi(I) of shape (..., d) and `prior_features` of shape (..., 25)."""
        return np.concatenate([self.image.scores(image), self.prior.scores(prior)], axis=-1)
