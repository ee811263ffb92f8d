# SPDX-License-Identifier: Apache-2.0
"""Episodes, records and bags for every test of this package."""

from __future__ import annotations

import torch
from episode_records import records  # noqa: F401

# As `train_policy` does: two threads on tensors of this size only wait for each other.
torch.set_num_threads(1)
