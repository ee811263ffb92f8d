# SPDX-License-Identifier: Apache-2.0
"""Listens while bags are played, and trains the policy on what it heard when asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_srvs.srv import Trigger

from deft_bag.reader import EPISODE_TOPIC
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE
from deft_cem.policies.replay import ReplayedEpisodes
from deft_cem.policies.training import train_policy
from deft_cem.settings import load_learning_settings
from deft_core.errors import ConfigurationError, DeftError, RecordingError
from deft_core.nodes.parameters import declare_parameters
from deft_core.nodes.qos import RECORDS
from deft_core.nodes.runner import run_node
from deft_msgs.msg import EpisodeRecord


@dataclass(frozen=True)
class TrainerParameters:
    """Parameters of the node `replay_trainer`."""

    output: str = field(default='', metadata={'doc': 'folder for the policy'})
    settings: str = field(
        default='', metadata={'doc': 'learning settings; empty takes config/learning.yaml'}
    )
    seed: int = field(default=0, metadata={'minimum': 0, 'doc': 'of weights and noise'})


class ReplayTrainer(Node):
    """Takes /session/episode and offers ~/train.

    Training blocks the node for its twenty seconds or less; episodes that come meanwhile wait in
    the queue of the subscription.
    """

    def __init__(self, **options: Any) -> None:
        """Read the settings and begin to listen."""
        super().__init__('replay_trainer', **options)
        self._parameters = declare_parameters(self, TrainerParameters)
        if not self._parameters.output:
            raise ConfigurationError('the parameter output is empty; name a folder for the policy')
        settings = self._parameters.settings
        self._settings = load_learning_settings(Path(settings) if settings else None)
        self._heard = ReplayedEpisodes()
        self._episodes = self.create_subscription(
            EpisodeRecord, EPISODE_TOPIC, self._on_episode, RECORDS, raw=True
        )
        self.create_service(Trigger, '~/train', self._train)

    def _on_episode(self, data: bytes) -> None:
        try:
            episode = self._heard.hear(deserialize_message(data, EpisodeRecord), data)
        except RecordingError as error:
            self.get_logger().error(str(error))
            return
        if episode is not None:
            self.get_logger().info(f'Heard {episode.episode_id}, reward {episode.reward}.')

    def _take_what_has_come(self) -> None:
        """Empty the queue: a request may be served before the episodes that came ahead of it."""
        queue = self._episodes.handle
        with queue:
            while (taken := queue.take_message(EpisodeRecord, True)) is not None:
                self._on_episode(taken[0])

    def _train(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._take_what_has_come()
        output = Path(self._parameters.output)
        try:
            practice = self._heard.practice()
            _make_folder(output)
            report = train_policy(practice, output, self._settings, seed=self._parameters.seed)
        except DeftError as error:
            response.message = str(error)
            return response
        response.success = True
        response.message = (
            f'trained on {len(report.elite_ids)} elites of {report.practice_count} episodes from '
            f'{self._heard.session_count} session(s); wrote {output / WEIGHTS_FILE} and '
            f'{CONFIG_FILE}'
        )
        gaps = self._heard.gaps()
        if gaps:
            self.get_logger().warning(gaps)
            response.message += f'. {gaps}'
        return response


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f'the folder {folder} cannot be made: {error}') from error


def main() -> int:
    """Run the node."""
    return run_node(ReplayTrainer, 'replay_trainer')


if __name__ == '__main__':
    sys.exit(main())
