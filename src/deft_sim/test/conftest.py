# SPDX-License-Identifier: Apache-2.0
"""Settings, and one cell that the tests of a module share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import mujoco
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from deft_core.configuration import config_directory
from deft_core.errors import DeviceError
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import SimulationSettings, load_simulation_settings
from deft_sim.environment import TableTopEnvironment
from deft_sim.rendering import OffscreenRenderer
from deft_sim.tasks import OBJECT_BODY, SimulatedTask, simulated_task
from deft_sim.tasks.pick_cup import PickCup


@pytest.fixture(scope='session')
def settings() -> SimulationSettings:
    return load_simulation_settings(config_directory())


@pytest.fixture(scope='session')
def task() -> SimulatedTask:
    return simulated_task('pick_cup')


class Exploding(PickCup):
    """A cup that flies off faster than anything can be computed."""

    def lay_out(
        self, data: mujoco.MjData, object_name: str, generator: np.random.Generator
    ) -> None:
        super().lay_out(data, object_name, generator)
        data.joint(OBJECT_BODY).qvel[:] = 1e12


@pytest.fixture
def exploding() -> SimulatedTask:
    return Exploding()


@pytest.fixture
def cell(settings: SimulationSettings, task: SimulatedTask) -> SimulatedCell:
    return SimulatedCell(settings, task, 'red_mug')


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


class Graph:
    """Nodes on one executor; equal domains in one test process; conditions instead of pauses."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Node] = []

    def make(self, name: str) -> Node:
        """A bare node of the test's own."""
        node = Node(name, context=self.context)
        self.add(node)
        return node

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self.executor.add_node(node)

    def until(self, condition: Callable[[], object], timeout: float = 60.0) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, 'the condition was not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, client: Any, request: Any) -> Any:
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def close(self) -> None:
        for node in self.nodes:
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture(scope='session')
def make_graph() -> type[Graph]:
    return Graph
