# SPDX-License-Identifier: Apache-2.0
"""What an episode is about to try."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deft_cem.session.schedule import PlannedEpisode
from deft_core.grasp import GraspResidual


@dataclass(frozen=True, eq=False)
class Proposal:
    """What the open episode tries.

    Attributes:
        number: Position of its row in the store.
        episode_id: Unique name of the episode.
        planned: Its place in the plan.
        object_name: What lies on the table.
        scene_seed: Seed of the scene as the operator confirmed it.
        residual: epsilon (practice) or delta (trials).
        distribution_mean: Mean of D. Shape (22,). [m | rad | rad].
        distribution_std: Standard deviation of D. Shape (22,). [m | rad | rad].
    """

    number: int
    episode_id: str
    planned: PlannedEpisode
    object_name: str
    scene_seed: int
    residual: GraspResidual
    distribution_mean: npt.NDArray[np.float64]
    distribution_std: npt.NDArray[np.float64]
