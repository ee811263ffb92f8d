# SPDX-License-Identifier: Apache-2.0
"""The node in a graph of its own."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip('deft_msgs')
rclpy = pytest.importorskip('rclpy')
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from deft_affordance.nodes.affordance_node import AffordanceNode  # noqa: E402
from deft_core.decode import prior_from_msg  # noqa: E402
from deft_core.errors import ConfigurationError  # noqa: E402
from deft_core.nodes.encode import observation_to_msg  # noqa: E402
from deft_core.nodes.qos import LATCHED  # noqa: E402
from deft_core.observation import ObjectObservation  # noqa: E402
from deft_msgs.msg import GraspPrior  # noqa: E402
from deft_msgs.srv import PredictGrasp  # noqa: E402

TIMEOUT = 10.0  # [s]
Code = PredictGrasp.Request
COLOR = np.zeros((4, 6, 3), dtype=np.uint8)


def observation_message(count=50):
    offsets = np.random.default_rng(0).uniform(-0.04, 0.04, (count, 3))
    observation = ObjectObservation(
        stamp=1.5,
        mask=np.ones((4, 6), dtype=bool),
        crop_box=(1, 0, 5, 4),
        points=np.array([0.55, 0.0, 0.05]) + offsets,
        table_plane=np.array([0.0, 0.0, 1.0, 0.0]),
        centre=np.array([0.55, 0.0, 0.05]),
        axes=np.eye(3)[:, [2, 0, 1]],
        extents=np.array([0.10, 0.08, 0.08]),
        height=0.10,
        touches_border=False,
        calibration_id='cell',
    )
    return observation_to_msg(observation, COLOR)


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


class Graph:
    """The node and a client in one executor."""

    def __init__(self, context):
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes = [AffordanceNode(context=context), Node('client', context=context)]
        for node in self.nodes:
            self.executor.add_node(node)
        self.client = self.nodes[1].create_client(PredictGrasp, '/affordance/predict_grasp')
        self.until(self.client.service_is_ready)

    def until(self, condition):
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, 'condition not met in time'
            self.executor.spin_once(timeout_sec=0.05)

    def predict(self, **changes):
        values = {'observation': observation_message(), 'task': 'pick_cup', 'seed': 3}
        future = self.client.call_async(PredictGrasp.Request(**{**values, **changes}))
        self.until(future.done)
        return future.result()

    def close(self):
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()


@pytest.fixture
def graph(context):
    graph = Graph(context)
    yield graph
    graph.close()


def test_prior_is_answered_and_latched(graph):
    response = graph.predict()
    assert (response.error_code, response.error_message) == (Code.NONE, '')
    prior = prior_from_msg(response.prior)
    assert (prior.source, prior.task, prior.calibration_id) == (
        'geometric/1',
        'pick_cup',
        'cell',
    )
    assert response.prior.header.stamp.sec == 1
    received = []
    graph.nodes[1].create_subscription(GraspPrior, '/affordance/prior', received.append, LATCHED)
    graph.until(lambda: received)
    np.testing.assert_array_equal(
        prior_from_msg(received[0]).grasp.to_vector(), prior.grasp.to_vector()
    )


def test_request_names_predictor_and_seed(graph):
    first, second, other = (
        graph.predict(predictor='heuristic', seed=seed) for seed in (3, 3, 2**64 - 1)
    )
    assert first.prior.source == 'heuristic/1'
    assert first.prior.grasp == second.prior.grasp
    assert first.prior.grasp.wrist_rotation[2] != other.prior.grasp.wrist_rotation[2]


def test_refusals_carry_their_code_and_the_node_goes_on(graph):
    foreign = observation_message()
    foreign.header.frame_id = 'camera_color_optical_frame'
    for changes, code, text in [
        ({'predictor': 'geometrik'}, Code.UNKNOWN_PREDICTOR, "did you mean 'geometric'?"),
        ({'task': 'pick_cub'}, Code.UNKNOWN_TASK, "did you mean 'pick_cup'?"),
        ({'observation': observation_message(0)}, Code.INVALID_OBSERVATION, 'no object points'),
        ({'observation': foreign}, Code.INVALID_OBSERVATION, "must be in 'link_base'"),
    ]:
        response = graph.predict(**changes)
        assert response.error_code == code
        assert text in response.error_message
    assert graph.predict().error_code == Code.NONE


def test_wrong_parameter_is_refused_at_start(context):
    with pytest.raises(ConfigurationError, match=r"'heuristik'; did you mean 'heuristic'\?"):
        AffordanceNode(
            context=context,
            parameter_overrides=[Parameter('predictor', value='heuristik')],
        )
