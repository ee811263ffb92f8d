# SPDX-License-Identifier: Apache-2.0
"""Answers that the middleware loses while a session is held up, or a peer away."""

from __future__ import annotations

import pytest
from rclpy.node import Node

from deft_cem.nodes.peers import Peers
from deft_core.clock import AwakeClock
from deft_msgs.action import ExecuteGrasp
from deft_msgs.srv import PredictGrasp


class Bench:
    """Calls of a session, whose answers are lost as long as a test wants it."""

    def __init__(self, graph):
        self.graph, self.robot = graph, graph.peers
        self.now = 0.0
        self.awake = AwakeClock(5.0, lambda: self.now)
        self.peers = Peers(graph.add(Node('session', context=graph.context)), self.awake)
        self.answers = []
        self.lost = 0
        graph.until(lambda: not self.peers.missing())

    def lose(self, owner, name):
        """Have answers of a peer go nowhere, as to a process that nobody hears any more."""
        kept = getattr(owner, name)
        setattr(owner, name, self.count)
        return lambda: setattr(owner, name, kept)

    def count(self, *_):
        self.lost += 1

    def freeze(self):
        """Be held up for a minute."""
        self.now += 60.0
        self.awake()

    def grasp(self):
        self.peers.act(
            '/arm/execute_grasp',
            ExecuteGrasp.Goal(episode_id='one'),
            30.0,
            on_result=lambda result: self.answers.append(result.error_code),
            on_reject=lambda: self.answers.append('rejected'),
            on_loss=lambda: self.answers.append('lost'),
        )

    def until(self, condition):
        def looked():
            self.now += 0.05
            self.peers.look()
            return condition()

        self.graph.until(looked)


@pytest.fixture
def bench(graph):
    bench = Bench(graph)
    yield bench
    bench.peers.close()


def test_a_result_that_was_lost_is_asked_for_again(bench):
    heard = bench.lose(bench.robot.servers[1], '_send_result_response')
    bench.grasp()
    bench.until(lambda: bench.lost)
    heard()
    bench.freeze()
    assert bench.peers.overdue() is None
    bench.until(lambda: bench.answers)
    assert bench.answers == [ExecuteGrasp.Goal.NONE]
    assert len(bench.robot.grasps) == 1


def test_a_goal_whose_acceptance_was_lost_is_not_sent_twice(bench):
    client = bench.peers._actions['/arm/execute_grasp']
    execute = client.execute

    async def deaf(data):
        data.pop('goal', None)
        await execute(data)

    client.execute = deaf
    bench.grasp()
    bench.until(lambda: bench.robot.grasps)
    bench.freeze()
    bench.until(lambda: bench.answers)
    assert bench.answers == [ExecuteGrasp.Goal.NONE]
    assert len(bench.robot.grasps) == 1


def test_a_service_is_called_again(bench):
    heard = bench.lose(bench.robot.predictor, 'send_response')
    request = PredictGrasp.Request()
    bench.peers.call('/affordance/predict_grasp', request, 30.0, bench.answers.append)
    bench.until(lambda: bench.lost)
    heard()
    bench.freeze()
    bench.until(lambda: bench.answers)
    assert len(bench.robot.predictions) == 2


def test_a_peer_that_was_away_is_asked_again(bench):
    bench.robot.holds_motion = True
    bench.grasp()
    bench.until(lambda: bench.robot.moving)
    for server in bench.robot.servers:
        server.destroy()
    bench.until(bench.peers.missing)
    bench.robot.serve_actions()
    bench.until(lambda: bench.answers)
    assert bench.answers == ['lost']


def test_the_next_motion_waits_for_the_end_of_one_that_was_dropped(bench):
    bench.robot.holds_motion = True
    bench.grasp()
    bench.until(lambda: bench.robot.moving)
    heard = bench.lose(bench.robot.servers[1], '_send_result_response')
    bench.grasp()
    bench.until(lambda: bench.lost)
    assert len(bench.robot.grasps) == 1
    heard()
    bench.robot.holds_motion = False
    bench.freeze()
    bench.until(lambda: bench.answers)
    assert bench.answers == [ExecuteGrasp.Goal.NONE]
    assert len(bench.robot.grasps) == 2
