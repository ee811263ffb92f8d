# SPDX-License-Identifier: Apache-2.0
"""The messages that say where a session stands and how it ended."""

from __future__ import annotations

import math

from deft_cem.nodes.session_setup import SessionSetup
from deft_cem.session.machine import State
from deft_core.episode import Phase
from deft_core.nodes.encode import distribution_to_msg, header
from deft_msgs.action import RunSession
from deft_msgs.msg import SessionStatus


def status_message(
    setup: SessionSetup | None, state: State, remark: str, stamp: float
) -> SessionStatus:
    """Where the session stands.

    Args:
        setup: The session; None before the first one.
        state: State of its machine.
        remark: Why it halted, or what is about to happen; empty otherwise.
        stamp: ROS time. [s].
    """
    text = f'{state.name.lower()}: {remark}' if remark else state.name.lower()
    message = SessionStatus(
        header=header(stamp, ''),
        state=state.value,
        state_text=text,
        scene_seed=-1,
        last_reward=math.nan,
        mean_reward=math.nan,
    )
    if setup is None:
        return message
    core, progress = setup.core, setup.core.progress
    planned = progress.planned
    message.session_id = core.session_id
    message.task = setup.task.name
    message.instruction = setup.task.instruction
    message.object_set = planned.object_set
    message.episode_id = core.episode_id
    message.phase = planned.phase.value
    message.episode_index = planned.position
    message.episode_count = len(core.plan)
    message.scene_seed = core.scene_seed
    if progress.rewards:
        message.last_reward = progress.rewards[-1]
        message.mean_reward = progress.recent_mean
    message.distribution = distribution_to_msg(*core.distribution)
    message.run_directory = str(core.run_directory)
    return message


def result_message(setup: SessionSetup | None, error_code: int, reason: str) -> RunSession.Result:
    """How the session ended.

    Args:
        setup: The session; None when there was none.
        error_code: A constant of RunSession.
        reason: Why it ended early; empty otherwise.
    """
    result = RunSession.Result(
        error_code=error_code,
        error_message=reason,
        mean_reward=math.nan,
        success_evaluation=math.nan,
    )
    if setup is not None:
        core = setup.core
        result.episode_count = core.progress.position
        practice = core.progress.practice_rewards[-10:]
        if practice:
            result.mean_reward = sum(practice) / len(practice)
        judged = core.store.verdicts(Phase.EVALUATE_POLICY)
        if judged:
            result.success_evaluation = sum(judged) / len(judged)
    return result
