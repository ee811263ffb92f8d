# SPDX-License-Identifier: Apache-2.0
"""Service calls to the driver of xarm_ros2 that never block and always end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from deft_arm.xarm.codes import describe_return
from deft_arm.xarm.commands import Call
from deft_core.clock import Deadline
from xarm_msgs import srv

# Everything that is called; the second group is off in the driver's default parameters.
OFFERED: Final = {
    'clean_error': srv.Call,
    'clean_warn': srv.Call,
    'motion_enable': srv.SetInt16ById,
    'set_mode': srv.SetInt16,
    'set_state': srv.SetInt16,
    'set_servo_angle': srv.MoveJoint,
}
TO_BE_SWITCHED_ON: Final = {
    'set_tcp_offset': srv.SetFloat32List,
    'set_tcp_load': srv.SetTcpLoad,
    'set_collision_sensitivity': srv.SetInt16,
    'set_collision_rebound': srv.SetInt16,
    'set_self_collision_detection': srv.SetInt16,
    'set_reduced_mode': srv.SetInt16,
    'set_reduced_tcp_boundary': srv.SetInt16List,
    'set_fence_mode': srv.SetInt16,
}
_Fail = Callable[[str], None]


class XArmCalls:
    """Clients of one driver, with a time limit of its own for every call."""

    def __init__(self, node: Node, namespace: str, timeout: float, *, with_settings: bool) -> None:
        """Create the clients, those of settings only where they are needed.

        The timeout counts real time. [s].
        """
        self._namespace = namespace
        self._timeout = timeout
        kinds: dict[str, Any] = {**OFFERED, **(TO_BE_SWITCHED_ON if with_settings else {})}
        self._clients: dict[str, Client] = {
            name: node.create_client(kind, f'{namespace}/{name}') for name, kind in kinds.items()
        }
        self._pending: dict[Future, tuple[str, Deadline, _Fail]] = {}

    @property
    def under_way(self) -> int:
        """Calls that were not answered yet."""
        return len(self._pending)

    def missing(self) -> list[str]:
        """Names of the services that nobody offers."""
        return [name for name, client in self._clients.items() if not client.service_is_ready()]

    def call(self, call: Call, answered: Callable[[int], None], fail: _Fail) -> None:
        """Call a service, never with `wait`, because it would block the driver.

        The return code goes to `answered`, or a sentence to `fail` when none comes in time.
        """
        client = self._clients[call.service]
        future = client.call_async(client.srv_type.Request(**call.fields))
        self._pending[future] = (call.service, Deadline(self._timeout), fail)

        def done(future: Future) -> None:
            if self._pending.pop(future, None) is not None:
                answered(int(future.result().ret))

        future.add_done_callback(done)

    def run(self, calls: Sequence[Call], finished: Callable[[str], None], fail: _Fail) -> None:
        """Make calls one after the other; the first refusal ends the row.

        In the end the refusal goes to `finished`, empty where there is none.
        """
        if not calls:
            finished('')
            return
        first, *rest = calls

        def answered(code: int) -> None:
            if code in first.taken:
                self.run(rest, finished, fail)
            else:
                finished(f'{self._namespace}/{first.service} answered {describe_return(code)}')

        self.call(first, answered, fail)

    def look(self) -> None:
        """Give up calls whose time is over; called in every cycle."""
        for future, (name, deadline, fail) in list(self._pending.items()):
            if deadline.passed and future in self._pending:
                self._forget(future)
                fail(
                    f'{self._namespace}/{name} did not answer within {self._timeout} s. The '
                    'driver has one thread: a call with wait:=true of another program, or a '
                    'motion call while the arm is paused, blocks it, and stop commands too.'
                )

    def drop(self) -> None:
        """Forget all calls under way; their answers are ignored."""
        for future in list(self._pending):
            self._forget(future)

    def _forget(self, future: Future) -> None:
        name, _, _ = self._pending.pop(future)
        self._clients[name].remove_pending_request(future)
