# SPDX-License-Identifier: Apache-2.0
"""A session whose practice is scored by images: with an operator who judges, and without."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rclpy.parameter import Parameter

from deft_bag.reader import BagReader
from deft_cem.nodes.visual_reward import (
    SERVICE,
    VisualRewardNode,
    VisualRewardParameters,
    make_visual_reward,
)
from deft_core.clock import Deadline
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError
from deft_core.nodes.qos import LATCHED
from deft_core.nodes.runner import EXIT_OK
from deft_core.pretrained import load_torchvision
from deft_msgs.msg import SessionStatus
from deft_msgs.srv import SubmitReward

PRACTICE = (Phase.WARM_UP, Phase.FINE_TUNE)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Weights of a small random ResNet-18, a goal image and a start image."""
    path = tmp_path_factory.mktemp('weights')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = load_torchvision().models.resnet18(weights=None)
    file = path / 'resnet18-f37072fd.pth'
    torch.save(network.state_dict(), file)
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / 'SHA256SUMS').write_text(f'{checksum}  {file.name}\n')
    # The camera of this graph shows noise; the goal is nearly that, the start is black.
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray((noise * 0.8).astype(np.uint8)).save(path / 'goal.png')
    Image.fromarray(np.zeros_like(noise)).save(path / 'start.png')
    return path


def parameters(folder: Path, **changes) -> dict:
    return {
        'encoder': 'resnet18',
        'weights': str(folder),
        'goal_image': str(folder / 'goal.png'),
        'start_image': str(folder / 'start.png'),
        'answer_timeout': 60.0,
        **changes,
    }


def add_reward(graph, folder: Path, **changes) -> VisualRewardNode:
    overrides = [Parameter(n, value=v) for n, v in parameters(folder, **changes).items()]
    return graph.add(VisualRewardNode(context=graph.context, parameter_overrides=overrides))


def test_the_image_scores_and_the_operator_judges(graph, folder) -> None:
    graph.settings.write_text('policy: {method: elite_mean}\n')  # the fastest to train
    add_reward(graph, folder, operator_judges=True)
    graph.peers.submit = graph.peers.create_client(SubmitReward, SERVICE)
    graph.session()
    assert graph.finish() == EXIT_OK
    episodes = list(BagReader(graph.run / 'bag').episodes())
    assert len(episodes) == len(graph.peers.scores) == 5
    reward = make_visual_reward(VisualRewardParameters(**parameters(folder)))
    for episode, given in zip(episodes, graph.peers.scores, strict=True):
        assert episode.success is (given > 0.6)
        if episode.phase in PRACTICE:
            expected = reward.score(episode.last_image).value
            assert 0.1 < expected < 1.0
            assert (episode.reward, episode.reward_source) == (expected, 'resnet18')
        else:
            assert (episode.reward, episode.reward_source) == (given, 'scripted_operator')


class OnlyTrials:
    """A person who scores the evaluation and leaves practice alone."""

    def __init__(self, peers) -> None:
        self.peers, self.client = peers, peers.submit

    def call_async(self, request: SubmitReward.Request) -> None:
        if self.peers.statuses[-1].phase not in (phase.value for phase in PRACTICE):
            self.client.call_async(request)


def test_alone_it_scores_practice_and_nothing_else(graph, folder) -> None:
    graph.settings.write_text('policy: {method: elite_mean}\n')  # the fastest to train
    add_reward(graph, folder)
    graph.peers.submit = OnlyTrials(graph.peers)
    graph.session()
    assert graph.finish() == EXIT_OK
    sources = {
        (episode.phase in PRACTICE, episode.reward_source, episode.success is None)
        for episode in BagReader(graph.run / 'bag').episodes()
    }
    assert sources == {(True, 'resnet18', True), (False, 'scripted_operator', False)}


def test_a_score_for_an_episode_that_does_not_wait_is_dropped(graph, folder, capfd) -> None:
    node = add_reward(graph, folder, operator_judges=True, answer_timeout=0.3)
    assert graph.call(SubmitReward, SERVICE, graph.peers.reward('nobody', 0.5)).accepted
    graph.until(lambda: not node._episodes)
    assert "No episode 'nobody' waits" in capfd.readouterr().err


def test_a_session_that_asks_again_gets_the_same_score(graph, folder) -> None:
    """As after a restart of the session; the operator has long gone on."""
    node = add_reward(graph, folder, operator_judges=True)
    heard = []

    def take(request, response):
        heard.append((request.reward.score, request.reward.success, request.reward.source))
        response.accepted = True
        return response

    graph.peers.create_service(SubmitReward, '/session/submit_reward', take)
    publisher = graph.peers.create_publisher(SessionStatus, '/session/status', LATCHED)
    graph.peers.answers = False
    status = SessionStatus(
        state=SessionStatus.AWAIT_REWARD, task='pick_cup', episode_id='one', phase=0
    )
    publisher.publish(status)
    assert graph.call(SubmitReward, SERVICE, graph.peers.reward('one', 0.9)).accepted
    graph.until(lambda: len(heard) == 1 and node._episodes['one'].answer_by is None)
    publisher.publish(status)
    graph.until(lambda: len(heard) == 2 and node._episodes['one'].answer_by is None)
    node._episodes['one'].answer_by = Deadline(0.0)  # as where the answer was lost
    graph.until(lambda: len(heard) == 3)
    assert heard[0] == heard[1] == heard[2]
    assert heard[0][1:] == (2, 3)  # success as judged, source ResNet-18
    assert set(node._episodes) == {'one'}


def test_another_task_is_refused(graph, folder) -> None:
    add_reward(graph, folder, task='pour_cup')
    graph.peers.submit = OnlyTrials(graph.peers)
    graph.session()
    with pytest.raises(ConfigurationError, match="teaches 'pick_cup'"):
        graph.until_state(SessionStatus.DONE)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'encoder': 'gradient_color_1'}, 'cannot reward a session'),
        ({'encoder': 'resnet_18'}, 'resnet18'),
        ({'weights': '/nowhere'}, r'resnet18-f37072fd\.pth \(46\.8 MB'),
        ({'goal_image': '/nowhere.png'}, 'no image'),
        ({'task': 'juggle', 'goal_image': ''}, 'juggle_goal'),
    ],
)
def test_what_is_missing_is_named(graph, folder, changes, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        add_reward(graph, folder, **changes)
