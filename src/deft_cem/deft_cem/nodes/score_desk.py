# SPDX-License-Identifier: Apache-2.0
"""Looks at scores and scenes before they count."""

from __future__ import annotations

import math
from typing import Final

from deft_cem.session_core import SessionCore
from deft_core.decode import SUCCESS_FROM_MSG
from deft_msgs.msg import Reward
from deft_msgs.srv import ConfirmReset, SubmitReward

SOURCES: Final = {
    Reward.SOURCE_OPERATOR: 'operator',
    Reward.SOURCE_SCRIPTED_OPERATOR: 'scripted_operator',
    Reward.SOURCE_R3M: 'r3m',
    Reward.SOURCE_RESNET18: 'resnet18',
    Reward.SOURCE_OPEN_CLIP: 'open_clip',
}


def check_scene(
    core: SessionCore | None, awaited: bool, request: ConfirmReset.Request
) -> ConfirmReset.Response:
    """Whether a scene may be confirmed now.

    Args:
        core: The session; None before the first one.
        awaited: Whether it waits for a scene.
        request: What the operator says.
    """
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


def check_score(
    core: SessionCore | None, awaited: bool, reward: Reward
) -> tuple[SubmitReward.Response, bool]:
    """Whether a score may be given now; the same score again is accepted and changes nothing.

    Args:
        core: The session; None before the first one.
        awaited: Whether it waits for a score.
        reward: The score.

    Returns:
        The answer, and whether the score is new.
    """
    kind = SubmitReward.Request

    def refused(code: int, message: str) -> tuple[SubmitReward.Response, bool]:
        return SubmitReward.Response(error_code=code, error_message=message), False

    stored = core.store.rated(reward.episode_id) if core is not None else None
    if stored is not None:
        if stored.reward == reward.score:
            return SubmitReward.Response(accepted=True), False
        return refused(kind.ALREADY_SCORED, f'{stored.episode_id} has the score {stored.reward}')
    if core is None or not awaited:
        return refused(kind.NOT_WAITING, 'the session does not wait for a score now')
    if reward.episode_id != core.episode_id:
        return refused(kind.WRONG_EPISODE, f'{core.episode_id} waits, not {reward.episode_id!r}')
    if (
        not (math.isfinite(reward.score) and 0.0 <= reward.score <= 1.0)
        or reward.source not in SOURCES
        or reward.success not in SUCCESS_FROM_MSG
    ):
        return refused(
            kind.INVALID_SCORE, f'score {reward.score} must be 0 to 1, from a known source'
        )
    return SubmitReward.Response(accepted=True), True
