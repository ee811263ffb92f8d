# SPDX-License-Identifier: Apache-2.0
"""Serves grasp priors for observed objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node

from deft_affordance.predictors import predictor
from deft_core.configuration import config_directory
from deft_core.decode import observation_from_msg
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError
from deft_core.nodes.encode import prior_to_msg
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import LATCHED
from deft_core.nodes.runner import run_node
from deft_core.task import load_task
from deft_msgs.msg import GraspPrior
from deft_msgs.srv import PredictGrasp


@dataclass(frozen=True)
class Parameters:
    """Parameters of the node."""

    # name of the predictor that answers a request which names none
    predictor: str = field(
        default='geometric', metadata={'doc': 'Predictor for requests that name none.'}
    )


class AffordanceNode(Node):
    """Answers `/affordance/predict_grasp` and latches the last answer."""

    def __init__(self, **node_options: Any) -> None:
        """Create the interfaces."""
        super().__init__('affordance', **node_options)
        self._default_name = declare_parameters(self, Parameters).predictor
        predictor(self._default_name)  # a wrong name is refused now, not at the first call
        self._config_directory = config_directory()
        self._prior = self.create_publisher(GraspPrior, '/affordance/prior', LATCHED)
        self.create_service(PredictGrasp, '/affordance/predict_grasp', self._predict)

    def _predict(
        self, request: PredictGrasp.Request, response: PredictGrasp.Response
    ) -> PredictGrasp.Response:
        try:
            propose = predictor(request.predictor or self._default_name)
        except ConfigurationError as error:
            return self._refuse(response, PredictGrasp.Request.UNKNOWN_PREDICTOR, error)
        try:
            task = load_task(request.task, self._config_directory)
        except ConfigurationError as error:
            return self._refuse(response, PredictGrasp.Request.UNKNOWN_TASK, error)
        try:
            observation = observation_from_msg(request.observation)
            prior = propose(observation, task, np.random.default_rng(request.seed))
        except InvalidInputError as error:
            return self._refuse(response, PredictGrasp.Request.INVALID_OBSERVATION, error)
        except DeftError as error:
            return self._refuse(response, PredictGrasp.Request.NO_PROPOSAL, error)
        response.prior = prior_to_msg(prior, observation.stamp)
        response.error_code = PredictGrasp.Request.NONE
        self._prior.publish(response.prior)
        return response

    def _refuse(
        self, response: PredictGrasp.Response, code: int, error: DeftError
    ) -> PredictGrasp.Response:
        self.get_logger().warning(str(error))
        response.error_code = code
        response.error_message = str(error)
        return response


def main() -> int:
    """Run the node; returns the exit code."""
    return run_node(AffordanceNode, 'affordance')


if __name__ == '__main__':
    raise SystemExit(main())
