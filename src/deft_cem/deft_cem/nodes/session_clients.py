# SPDX-License-Identifier: Apache-2.0
"""The peers of a session: calls that never block, with time-outs that name who was silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from deft_core.clock import Deadline
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.srv import PredictGrasp, SegmentObject

Answer = Callable[[Any], None]


@dataclass
class _Pending:
    """The one call that is under way."""

    name: str
    deadline: Deadline


class SessionClients:
    """Service and action clients; one call at a time, as an episode has one thing to wait for.

    An answer that comes after its call was dropped (late, or after a halt) is ignored.
    """

    def __init__(self, node: Node) -> None:
        """Create the clients on `node`."""
        self._services = {
            '/perception/segment_object': node.create_client(
                SegmentObject, '/perception/segment_object'
            ),
            '/affordance/predict_grasp': node.create_client(
                PredictGrasp, '/affordance/predict_grasp'
            ),
        }
        self._actions = {
            '/arm/execute_grasp': ActionClient(node, ExecuteGrasp, '/arm/execute_grasp'),
            '/arm/return_home': ActionClient(node, ReturnHome, '/arm/return_home'),
        }
        self._pending: _Pending | None = None
        self._goal: Any = None

    def close(self) -> None:
        """Destroy the action clients."""
        for action in self._actions.values():
            action.destroy()

    def missing(self) -> list[str]:
        """Names of the services and actions that nobody offers yet."""
        absent = [name for name, client in self._services.items() if not client.service_is_ready()]
        return absent + [
            name for name, client in self._actions.items() if not client.server_is_ready()
        ]

    def overdue(self) -> str | None:
        """Name of what should have answered by now, if anything."""
        if self._pending is not None and self._pending.deadline.passed:
            return self._pending.name
        return None

    def call(self, name: str, request: Any, timeout: float, on_answer: Answer) -> None:
        """Call a service.

        Args:
            name: Name of the service.
            request: Its request.
            timeout: Monotonic time allowed. [s].
            on_answer: Gets the response.
        """
        pending = self._begin(name, timeout)
        future = self._services[name].call_async(request)
        future.add_done_callback(lambda done: self._answer(pending, on_answer, done.result()))

    def act(
        self, name: str, goal: Any, timeout: float, on_result: Answer, on_reject: Answer
    ) -> None:
        """Send an action goal.

        Args:
            name: Name of the action.
            goal: Its goal.
            timeout: Monotonic time allowed for the whole action. [s].
            on_result: Gets the result message.
            on_reject: Gets the name of the action when the server does not take the goal.
        """
        pending = self._begin(name, timeout)

        def responded(future: Any) -> None:
            handle = future.result()
            if self._pending is not pending:
                if handle.accepted:  # dropped in the meantime: nobody wants this motion
                    handle.cancel_goal_async()
                return
            if not handle.accepted:
                self._answer(pending, on_reject, name)
                return
            self._goal = handle
            handle.get_result_async().add_done_callback(finished)

        def finished(future: Any) -> None:
            self._answer(pending, on_result, future.result().result)

        self._actions[name].send_goal_async(goal).add_done_callback(responded)

    def drop(self) -> None:
        """Forget the call under way and cancel its motion."""
        self._pending = None
        if self._goal is not None:
            self._goal.cancel_goal_async()
            self._goal = None

    def _begin(self, name: str, timeout: float) -> _Pending:
        self.drop()
        self._pending = _Pending(name, Deadline(timeout))
        return self._pending

    def _answer(self, pending: _Pending, on_answer: Answer, value: Any) -> None:
        if self._pending is not pending:
            return
        self._pending = None
        self._goal = None
        on_answer(value)
