# SPDX-License-Identifier: Apache-2.0
"""The hand of the configuration folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from deft_hand_driver.description import HandDescription, load_hand_description
from deft_hand_driver.joint_map import TendonMap

# A busy machine must not fail a test.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')

CONFIGURATION = Path(__file__).resolve().parents[3] / 'config'


@pytest.fixture(scope='session')
def description() -> HandDescription:
    return load_hand_description('dash', CONFIGURATION)


@pytest.fixture(scope='session')
def tendon_map(description: HandDescription) -> TendonMap:
    return TendonMap(description)


@pytest.fixture
def hand_file(tmp_path: Path) -> Path:
    """A copy of the hand's file, in a configuration folder of its own."""
    (tmp_path / 'hands').mkdir()
    return Path(shutil.copy(CONFIGURATION / 'hands' / 'dash.yaml', tmp_path / 'hands'))
