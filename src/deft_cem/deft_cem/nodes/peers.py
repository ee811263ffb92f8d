# SPDX-License-Identifier: Apache-2.0
"""The peers of a session: calls that never block, with time-outs that name who was silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rclpy.action import ActionClient
from rclpy.node import Node

from deft_core.clock import Deadline
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.srv import PredictGrasp, SegmentObject

Answer = Callable[[Any], None]
_RETRY_PERIOD: Final = 0.5  # [s] of real time until a rejected goal is sent again


@dataclass
class _Pending:
    """The one call that is under way."""

    name: str
    deadline: Deadline


@dataclass
class _Order:
    """A goal and who wants to know of it."""

    pending: _Pending
    goal: Any
    on_result: Answer
    on_reject: Answer
    not_before: float = 0.0  # [s] monotonic


class Peers:
    """Service and action clients; one call at a time, as an episode has one thing to wait for.

    An answer that comes after its call was dropped (late, or after a halt) is ignored. A goal
    waits until a motion that was cancelled has come to rest, and is sent again while the server
    rejects it: the arm may still be at the motion of a session that was killed.
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
        self._waiting: _Order | None = None
        self._goal: Any = None
        self._sending = False  # a goal is on its way to the server
        self._stopping = 0  # goals that were dropped and have not ended

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

    def look(self) -> None:
        """Send a goal that waits, if it may go now; called now and then."""
        order = self._waiting
        if order is None or self._stopping or time.monotonic() < order.not_before:
            return
        self._waiting = None
        self._send(order)

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
        self,
        name: str,
        goal: Any,
        timeout: float,
        on_result: Answer,
        on_reject: Answer,
    ) -> None:
        """Send an action goal.

        Args:
            name: Name of the action.
            goal: Its goal.
            timeout: Monotonic time allowed for the whole action. [s].
            on_result: Gets the result message.
            on_reject: Gets the name of the action when the server never takes the goal.
        """
        pending = self._begin(name, timeout)
        self._waiting = _Order(pending, goal, on_result, on_reject)
        self.look()

    def _send(self, order: _Order) -> None:
        pending = order.pending

        def responded(future: Any) -> None:
            handle = future.result()
            dropped = self._pending is not pending
            if not dropped:
                self._sending = False
            if handle.accepted:
                if dropped:  # nobody wants this motion
                    handle.cancel_goal_async()
                else:
                    self._goal = handle
                handle.get_result_async().add_done_callback(finished)
            elif dropped:
                self._rest()
            else:
                self._reject(order)

        def finished(future: Any) -> None:
            if self._pending is pending:
                self._answer(pending, order.on_result, future.result().result)
            else:
                self._rest()

        self._sending = True
        sent = self._actions[pending.name].send_goal_async(order.goal)
        sent.add_done_callback(responded)

    def _reject(self, order: _Order) -> None:
        if order.pending.deadline.remaining <= _RETRY_PERIOD:
            self._answer(order.pending, order.on_reject, order.pending.name)
            return
        order.not_before = time.monotonic() + _RETRY_PERIOD
        self._waiting = order

    def drop(self) -> None:
        """Forget the call under way and cancel its motion."""
        self._pending = None
        self._waiting = None
        if self._goal is not None:
            self._goal.cancel_goal_async()
        if self._goal is not None or self._sending:
            self._stopping += 1
        self._goal = None
        self._sending = False

    def _rest(self) -> None:
        """A motion that was dropped has ended."""
        self._stopping -= 1
        self.look()

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
