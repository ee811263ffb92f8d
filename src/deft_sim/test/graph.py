# SPDX-License-Identifier: Apache-2.0
"""A graph of its own for one test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node


class Graph:
    """Nodes on one executor and one domain; conditions instead of pauses."""

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Node] = []

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
