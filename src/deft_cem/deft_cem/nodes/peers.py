# SPDX-License-Identifier: Apache-2.0
"""The peers of a session: calls that never block, with time-outs that name who was silent."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

from deft_core.clock import AwakeClock, Deadline
from deft_msgs.action import ExecuteGrasp, ReturnHome
from deft_msgs.srv import PredictGrasp, SegmentObject

Answer = Callable[[Any], None]
_FINDING_TIME: Final = 1.0  # [s] until processes that lost each other have met again
_RETRY_PERIOD: Final = 0.5  # [s] of real time until a rejected goal is sent again


@dataclass(frozen=True, eq=False)
class _Pending:
    """The one call that is under way."""

    name: str
    deadline: Deadline


@dataclass(eq=False)
class _Question:
    """A service call or a goal without its answer or result."""

    name: str
    ask: Callable[[], Future]
    answered: Answer
    again: float = math.inf  # when to ask again [s] on the clock


@dataclass(eq=False)
class _Order:
    """A goal and who wants to know of it."""

    pending: _Pending
    goal: Any
    on_result: Answer
    on_reject: Callable[[], None]
    on_loss: Callable[[], None]
    not_before: float = 0.0  # [s] on the clock


class Peers:
    """Service and action clients; one call at a time, as an episode has one thing to wait for.

    An answer that comes after its call was dropped (late, or after a halt) is ignored. A goal
    waits until a motion that was cancelled has come to rest, and is sent again while the server
    rejects it: the arm may still be at the motion of a session that was killed.

    The middleware loses answers to a process from which it has heard nothing for 20 s. So what is
    open when this process was held up, or the server away, is asked again: a service is called
    once more, and the server of an action is asked for the result of the same goal.
    """

    def __init__(self, node: Node, clock: AwakeClock) -> None:
        """Create the clients on `node`; time-outs run on `clock`."""
        self._clock = clock
        self._held_ups = clock.held_ups
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
        self._goal: ClientGoalHandle | None = None  # of the motion that is pending
        self._questions: list[_Question] = []  # goals that were dropped stay until they end

    def close(self) -> None:
        """Destroy the action clients."""
        for action in self._actions.values():
            action.destroy()

    def missing(self) -> list[str]:
        """Names of the services and actions that nobody offers yet."""
        return [name for name in (*self._services, *self._actions) if not self._is_offered(name)]

    def _is_offered(self, name: str) -> bool:
        if name in self._services:
            return bool(self._services[name].service_is_ready())
        return bool(self._actions[name].server_is_ready())

    def overdue(self) -> str | None:
        """Name of what should have answered by now, if anything."""
        if self._pending is not None and self._pending.deadline.passed:
            return self._pending.name
        return None

    def look(self) -> None:
        """Ask again for what may be lost, and send a goal that waits; called now and then."""
        now = self._clock()
        held_up = self._clock.held_ups != self._held_ups
        self._held_ups = self._clock.held_ups
        for question in self._questions:
            if held_up or not self._is_offered(question.name):
                question.again = now + _FINDING_TIME
            elif now >= question.again:
                self._ask(question)
        order = self._waiting
        if (
            order is not None
            and not self._questions
            and now >= order.not_before
            and self._is_offered(order.pending.name)
        ):
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
        question = self._add(
            name,
            lambda: self._services[name].call_async(request),
            lambda response: self._answer(pending, lambda: on_answer(response)),
        )
        self._ask(question)

    def act(
        self,
        name: str,
        goal: Any,
        timeout: float,
        *,
        on_result: Answer,
        on_reject: Callable[[], None],
        on_loss: Callable[[], None],
    ) -> None:
        """Send an action goal.

        Args:
            name: Name of the action.
            goal: Its goal.
            timeout: Monotonic time allowed for the whole action. [s].
            on_result: Gets the result message.
            on_reject: Called when the server never takes the goal.
            on_loss: Called when the server does not know the goal any more.
        """
        pending = self._begin(name, timeout)
        self._waiting = _Order(pending, goal, on_result, on_reject, on_loss)
        self.look()

    def _send(self, order: _Order) -> None:
        pending, client = order.pending, self._actions[order.pending.name]
        # Under an id of our own, so that its result can be asked for where its acceptance is lost.
        identifier = UUID(uuid=list(uuid.uuid4().bytes))
        goal = ClientGoalHandle(client, identifier, None)

        def responded(future: Future) -> None:
            known = question in self._questions
            wanted = known and self._pending is pending
            if not future.result().accepted:
                if known:
                    self._questions.remove(question)
                if wanted:
                    self._reject(order)
                return
            if known:
                self._ask(question)
            if wanted:
                self._goal = goal
            else:
                goal.cancel_goal_async()  # nobody wants this motion

        def ended(response: Any) -> None:
            if response.status == GoalStatus.STATUS_UNKNOWN:
                self._answer(pending, order.on_loss)
            else:
                self._answer(pending, lambda: order.on_result(response.result))

        question = self._add(pending.name, goal.get_result_async, ended)
        sent = client.send_goal_async(order.goal, goal_uuid=identifier)
        sent.add_done_callback(responded)

    def _reject(self, order: _Order) -> None:
        if order.pending.deadline.remaining <= _RETRY_PERIOD:
            self._answer(order.pending, order.on_reject)
            return
        order.not_before = self._clock() + _RETRY_PERIOD
        self._waiting = order

    def drop(self) -> None:
        """Forget the call under way and cancel its motion."""
        self._pending = None
        self._waiting = None
        if self._goal is not None:
            self._goal.cancel_goal_async()
        self._goal = None
        self._questions = [each for each in self._questions if each.name in self._actions]

    def _begin(self, name: str, timeout: float) -> _Pending:
        self.drop()
        self._pending = _Pending(name, Deadline(timeout, self._clock))
        return self._pending

    def _add(self, name: str, ask: Callable[[], Future], answered: Answer) -> _Question:
        question = _Question(name, ask, answered)
        self._questions.append(question)
        return question

    def _ask(self, question: _Question) -> None:
        def answered(future: Future) -> None:
            if question in self._questions:  # it may have been asked twice
                self._questions.remove(question)
                question.answered(future.result())

        question.again = math.inf
        question.ask().add_done_callback(answered)

    def _answer(self, pending: _Pending, then: Callable[[], None]) -> None:
        if self._pending is not pending:
            return
        self._pending = None
        self._goal = None
        then()
