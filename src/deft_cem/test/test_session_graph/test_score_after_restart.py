# SPDX-License-Identifier: Apache-2.0
"""A score that was given before a restart is answered from the store after it."""

from __future__ import annotations

from deft_msgs.msg import SessionStatus
from deft_msgs.srv import SubmitReward


def test_a_score_is_known_after_a_restart(graph) -> None:
    graph.peers.answers = False
    node = graph.session()
    episode_id = graph.until_state(SessionStatus.RESET).episode_id
    graph.peers.confirm_scene()
    graph.until_state(SessionStatus.AWAIT_REWARD)

    def submit(score: float) -> SubmitReward.Response:
        request = graph.peers.reward(episode_id, score)
        return graph.call(SubmitReward, '/session/submit_reward', request)

    assert submit(0.5).accepted
    graph.until_state(SessionStatus.RESET)
    graph.remove(node)

    # The operator's program did not see the answer and sends the score again.
    graph.peers.statuses.clear()
    graph.session()
    status = graph.until_state(SessionStatus.RESET)
    assert status.episode_id != episode_id
    assert submit(0.5).accepted
    other = submit(0.6)
    assert not other.accepted
    assert other.error_code == SubmitReward.Request.ALREADY_SCORED
    assert '0.5' in other.error_message
