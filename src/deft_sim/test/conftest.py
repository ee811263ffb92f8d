# SPDX-License-Identifier: Apache-2.0
"""Settings, and one cell that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deft_core.configuration import config_directory
from deft_core.errors import DeviceError
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import SimulationSettings, load_simulation_settings
from deft_sim.environment import TableTopEnvironment
from deft_sim.rendering import OffscreenRenderer


@pytest.fixture(scope='session')
def settings() -> SimulationSettings:
    return load_simulation_settings(config_directory())


@pytest.fixture
def cell(settings: SimulationSettings) -> SimulatedCell:
    return SimulatedCell(settings, 'red_mug', 0)


@pytest.fixture(scope='session')
def offscreen() -> None:
    """Skips a test where this machine has no offscreen OpenGL."""
    try:
        OffscreenRenderer(64, 48).close()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope='module')
def environment(offscreen: None) -> Iterator[TableTopEnvironment]:
    opened = TableTopEnvironment.open('pick_cup')
    yield opened
    opened.close()
