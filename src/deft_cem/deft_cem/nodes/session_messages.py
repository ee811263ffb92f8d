# SPDX-License-Identifier: Apache-2.0
"""What a session answers and announces: the check of a scene, status and result."""

from __future__ import annotations

import math
from typing import Final

from deft_cem.nodes.session_parameters import SessionSetup
from deft_cem.session.core import SessionCore
from deft_cem.session.machine import Event, State
from deft_core.episode import Phase
from deft_core.nodes.encode import distribution_to_msg, header
from deft_msgs.action import RunSession
from deft_msgs.msg import SessionStatus
from deft_msgs.srv import ConfirmReset, ControlSession

CONTROLS: Final = {
    ControlSession.Request.PAUSE: Event.PAUSE,
    ControlSession.Request.RESUME: Event.RESUME,
    ControlSession.Request.REDO_EPISODE: Event.REDO,
    ControlSession.Request.SKIP_EPISODE: Event.SKIP,
    ControlSession.Request.ABORT_EPISODE: Event.ABORT,
    ControlSession.Request.STOP: Event.CANCEL,
}
# States in which a pause is noted and takes effect at the next reset of the scene.
PAUSES_LATER: Final = frozenset(
    {
        State.IDLE,
        State.OBSERVE,
        State.PREDICT,
        State.SAMPLE,
        State.EXECUTE,
        State.AWAIT_REWARD,
        State.TRAIN,
    }
)


def check_scene(
    core: SessionCore | None, awaited: bool, request: ConfirmReset.Request
) -> ConfirmReset.Response:
    """Whether a scene may be confirmed now."""
    kind = ConfirmReset.Request
    if core is None or not awaited:
        return ConfirmReset.Response(
            error_code=kind.NOT_WAITING,
            error_message='the session does not wait for a scene now',
        )
    if request.episode_id != core.episode_id:
        return ConfirmReset.Response(
            error_code=kind.WRONG_EPISODE,
            error_message=f'episode {core.episode_id} waits, not {request.episode_id!r}',
        )
    return ConfirmReset.Response(accepted=True)


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
    scheduled = progress.scheduled
    message.session_id = core.session_id
    message.task = setup.task.name
    message.instruction = setup.task.instruction
    message.object_set = scheduled.object_set
    message.episode_id = core.episode_id
    message.phase = scheduled.phase.value
    message.episode_index = scheduled.position
    message.episode_count = len(core.schedule)
    message.scene_seed = core.scene_seed
    if progress.rewards:
        message.last_reward = progress.rewards[-1]
        message.mean_reward = progress.recent_mean
    message.distribution = distribution_to_msg(*core.distribution)
    message.run_directory = str(core.run_directory)
    return message


def result_message(setup: SessionSetup | None, error_code: int, reason: str) -> RunSession.Result:
    """How the session ended."""
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
        judged = [
            episode.success
            for episode in core.store.episodes()
            if episode.phase is Phase.EVALUATE_POLICY and episode.success is not None
        ]
        if judged:
            result.success_evaluation = sum(judged) / len(judged)
    return result
