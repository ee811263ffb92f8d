# SPDX-License-Identifier: Apache-2.0
"""The scripted operator between a session and a simulation that only answer."""

from __future__ import annotations

import time

import pytest
from std_srvs.srv import Trigger

from deft_core.nodes.qos import LATCHED, STATE_PUBLISHER
from deft_msgs.msg import ArmState, SessionStatus
from deft_msgs.srv import ConfirmReset, EvaluateScene, ResetScene, SubmitReward
from deft_sim.nodes.scripted_operator import ScriptedOperator


class Cell:
    """Simulation, arm and session as the operator sees them."""

    def __init__(self, graph) -> None:
        self.graph = graph
        self.node = graph.make('cell')
        self.layouts: list[tuple[str, int]] = []
        self.confirmed: list[tuple[str, str, int]] = []
        self.scores: list[str] = []
        self.refusals: list[int] = []  # error codes of the next scores
        self.status = self.node.create_publisher(SessionStatus, '/session/status', LATCHED)
        self.arm = self.node.create_publisher(ArmState, '/arm/state', STATE_PUBLISHER)
        self.arm_state = ArmState.IDLE
        self.pressed = False  # whether an emergency stop is
        self.cleared = 0
        self.node.create_timer(0.05, self.say_arm)
        self.node.create_service(Trigger, '/arm/clear_fault', self.clear)
        self.node.create_service(ResetScene, '/simulation/reset_scene', self.reset)
        self.node.create_service(EvaluateScene, '/simulation/evaluate_scene', self.evaluate)
        self.node.create_service(ConfirmReset, '/session/confirm_reset', self.confirm)
        self.node.create_service(SubmitReward, '/session/submit_reward', self.submit)
        graph.add(ScriptedOperator(context=graph.context))

    def say(self, state: int, scene_seed: int = 3, episode_id: str = 'e0') -> None:
        self.status.publish(
            SessionStatus(
                state=state,
                episode_id=episode_id,
                task='pick_cup',
                object_set='train',
                scene_seed=scene_seed,
            )
        )

    def say_arm(self) -> None:
        state = ArmState(state=self.arm_state, fault='C31', emergency_stop=self.pressed)
        self.arm.publish(state)

    def clear(self, _, response):
        self.cleared += 1
        response.message = 'as the test wants it'
        return response

    def reset(self, request, response):
        assert request.task == 'pick_cup'
        self.layouts.append((request.object_name, request.scene_seed))
        return response

    def confirm(self, request, response):
        self.confirmed.append((request.episode_id, request.object_name, request.scene_seed))
        response.accepted = True
        return response

    def evaluate(self, _, response):
        response.score, response.success = 0.75, 2
        return response

    def submit(self, request, response):
        self.scores.append(request.reward.episode_id)
        response.error_code = self.refusals.pop(0) if self.refusals else 0
        response.accepted = response.error_code == 0
        return response


@pytest.fixture
def cell(make_graph):
    graph = make_graph()
    yield Cell(graph)
    graph.close()


def test_an_episode_that_starts_over_gets_the_scene_that_is_asked_for(cell) -> None:
    cell.say(SessionStatus.RESET, scene_seed=3)
    cell.graph.until(lambda: len(cell.confirmed) == 1)
    # Nothing could be grasped: the session wants the same episode in another scene.
    cell.say(SessionStatus.OBSERVE, scene_seed=3)
    cell.say(SessionStatus.RESET, scene_seed=44)
    cell.graph.until(lambda: len(cell.confirmed) == 2)
    assert [seed for _, seed in cell.layouts] == [3, 44]
    assert [(name, seed) for name, _, seed in cell.confirmed] == [('e0', 3), ('e0', 44)]
    assert cell.confirmed[1][1] == cell.layouts[1][0]


def test_nobody_touches_the_table_before_the_arm_is_home(cell) -> None:
    cell.arm_state = ArmState.MOVING
    cell.say(SessionStatus.RESET)
    cell.say(SessionStatus.RESET, episode_id='e1')
    cell.arm_state = ArmState.IDLE
    cell.graph.until(lambda: cell.confirmed)
    assert [name for name, _, _ in cell.confirmed] == ['e1']


def test_a_score_that_came_to_a_session_that_was_not_ready_is_given_again(cell) -> None:
    cell.refusals = [SubmitReward.Request.NOT_WAITING, SubmitReward.Request.WRONG_EPISODE]
    cell.say(SessionStatus.AWAIT_REWARD)
    cell.graph.until(lambda: len(cell.scores) == 3)
    # Taken: the same status again is no reason to score again, another episode is.
    cell.say(SessionStatus.AWAIT_REWARD)
    cell.say(SessionStatus.AWAIT_REWARD, episode_id='e1')
    cell.graph.until(lambda: 'e1' in cell.scores)
    assert cell.scores.count('e0') == 3


def test_a_score_that_an_earlier_process_gave_is_not_given_for_ever(cell) -> None:
    cell.refusals = [SubmitReward.Request.ALREADY_SCORED]
    cell.say(SessionStatus.AWAIT_REWARD)
    cell.graph.until(lambda: cell.scores)
    cell.say(SessionStatus.AWAIT_REWARD, episode_id='e1')
    cell.graph.until(lambda: 'e1' in cell.scores)
    assert cell.scores == ['e0', 'e1']


def test_a_fault_of_the_arm_is_cleared_with_patience_until_it_is_gone(cell, capfd) -> None:
    cell.arm_state = ArmState.FAULT
    begin = time.monotonic()
    cell.graph.until(lambda: cell.cleared == 3)
    assert time.monotonic() - begin > 0.9  # not at once after one another
    cell.arm_state = ArmState.IDLE
    cell.say(SessionStatus.RESET)
    cell.graph.until(lambda: cell.confirmed)
    count = cell.cleared
    cell.say(SessionStatus.AWAIT_REWARD)
    cell.graph.until(lambda: cell.scores)
    assert cell.cleared == count
    assert capfd.readouterr().err.count('Cleared the fault of the arm') == 1


def test_a_fault_is_left_alone_while_an_emergency_stop_is_pressed(cell) -> None:
    cell.arm_state, cell.pressed = ArmState.FAULT, True
    cell.say(SessionStatus.AWAIT_REWARD)
    cell.graph.until(lambda: cell.scores)
    assert cell.cleared == 0
    cell.pressed = False
    cell.graph.until(lambda: cell.cleared)
