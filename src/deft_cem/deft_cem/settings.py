# SPDX-License-Identifier: Apache-2.0
"""How a session practises and what it trains: config/learning.yaml."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deft_cem.optimisers.ask_tell import ResidualOptimiser
from deft_cem.optimisers.cem import (
    DEFAULT_ELITES,
    DEFAULT_EPISODES,
    DEFAULT_WARM_UP,
    SIGMA_JOINT,
    SIGMA_POSITION,
    SIGMA_ROTATION,
    initial_standard_deviation,
)
from deft_cem.optimisers.registry import OptimiserSettings
from deft_cem.policies.choice import PolicySettings
from deft_core.configuration import config_directory, load_yaml

LEARNING_FILE = 'learning.yaml'


@dataclass(frozen=True)
class LearningSettings:
    """Algorithm 1 and Table 4 of the paper, and the trials after it.

    Attributes:
        episodes: N, practice episodes.
        warm_up_episodes: M, practice episodes drawn from the first distribution.
        elites: E, best episodes the distribution and the policy are fitted to.
        sigma_position: First spread of each grasp-centre coordinate. [m]
        sigma_rotation: First spread of each wrist Euler angle. [rad]
        sigma_joint: First spread of each hand joint. [rad]
        evaluation_trials: Trials of the policy on each object set, and as many of the prior alone.
        evaluation_object_set: Objects of the trials, 'train', 'test' (held out) or 'both'.
        optimiser: Which method searches while practising.
        policy: The policy trained on the elites.
    """

    episodes: int = field(default=DEFAULT_EPISODES, metadata={'minimum': 3, 'maximum': 10_000})
    warm_up_episodes: int = field(
        default=DEFAULT_WARM_UP, metadata={'minimum': 1, 'maximum': 10_000}
    )
    elites: int = field(default=DEFAULT_ELITES, metadata={'minimum': 2, 'maximum': 10_000})
    sigma_position: float = field(
        default=SIGMA_POSITION, metadata={'minimum': 1e-6, 'maximum': 0.2, 'unit': 'm'}
    )
    sigma_rotation: float = field(
        default=SIGMA_ROTATION, metadata={'minimum': 1e-6, 'maximum': 1.5, 'unit': 'rad'}
    )
    sigma_joint: float = field(
        default=SIGMA_JOINT, metadata={'minimum': 1e-6, 'maximum': 1.0, 'unit': 'rad'}
    )
    evaluation_trials: int = field(default=10, metadata={'minimum': 0, 'maximum': 1000})
    evaluation_object_set: str = 'train'
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)

    @property
    def initial_std(self) -> npt.NDArray[np.float64]:
        """First spread of all parameters. Shape (22,). [m | rad | rad]."""
        return initial_standard_deviation(
            self.sigma_position, self.sigma_rotation, self.sigma_joint
        )

    def make_optimiser(self, seed: int) -> ResidualOptimiser:
        """The optimiser of a session."""
        return self.optimiser.make(
            self.initial_std, seed, elites=self.elites, warm_up=self.warm_up_episodes
        )

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values, for the session store and the policy file."""
        return asdict(self)


def load_learning_settings(path: Path | None = None) -> LearningSettings:
    """Read the settings; None takes learning.yaml of the configuration folder.

    Raises:
        ConfigurationError: The file is missing or wrong.
    """
    if path is None:
        path = config_directory() / LEARNING_FILE
    return load_yaml(path, LearningSettings)
