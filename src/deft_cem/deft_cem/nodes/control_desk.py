# SPDX-License-Identifier: Apache-2.0
"""Looks at what an operator asks of a running session before it is done."""

from __future__ import annotations

from typing import Final

from deft_cem.session.core import SessionCore
from deft_cem.session.machine import Event, State, transition
from deft_core.errors import InvalidInputError
from deft_msgs.srv import ControlSession

_EVENTS: Final = {
    ControlSession.Request.PAUSE: Event.PAUSE,
    ControlSession.Request.RESUME: Event.RESUME,
    ControlSession.Request.REDO_EPISODE: Event.REDO,
    ControlSession.Request.SKIP_EPISODE: Event.SKIP,
    ControlSession.Request.ABORT_EPISODE: Event.ABORT,
    ControlSession.Request.STOP: Event.CANCEL,
}
# States in which a pause is noted and takes effect at the next reset of the scene.
_PAUSES_LATER: Final = frozenset(
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


class ControlDesk:
    """Turns requests into events, and notes a pause that has to wait.

    Attributes:
        pause_wanted: Whether the session pauses at the next reset of the scene.
    """

    def __init__(self) -> None:
        """Nothing is wanted yet."""
        self.pause_wanted = False

    def take(
        self, core: SessionCore | None, state: State, request: ControlSession.Request
    ) -> tuple[ControlSession.Response, Event | None]:
        """Accept a request or say why not.

        Args:
            core: The session; None before the first one.
            state: Where it stands.
            request: What the operator wants.

        Returns:
            The answer, and the event that follows now, if any.
        """
        kind = ControlSession.Request
        event = _EVENTS.get(request.request)
        response = ControlSession.Response(error_code=kind.NOT_POSSIBLE_NOW)
        if event is None:
            response.error_code = kind.UNKNOWN
            response.error_message = f'there is no request {request.request}'
            return response, None
        if core is None:
            response.error_message = f'{event.value!r} is not possible: there is no session'
            return response, None
        if request.episode_id != core.episode_id:
            response.error_code = kind.WRONG_EPISODE
            response.error_message = (
                f'episode {core.episode_id} runs, not {request.episode_id!r}; what is rated is '
                'learned from and stays'
            )
            return response, None
        if self._note_pause(event, state):
            return ControlSession.Response(accepted=True), None
        try:
            transition(state, event)  # refuses what has no meaning in this state
        except InvalidInputError as refusal:
            response.error_message = str(refusal)
            return response, None
        return ControlSession.Response(accepted=True), event

    def _note_pause(self, event: Event, state: State) -> bool:
        """Whether the request only changes what is noted."""
        if event is Event.PAUSE and state in _PAUSES_LATER:
            self.pause_wanted = True
            return True
        if event is Event.RESUME and self.pause_wanted:
            self.pause_wanted = False
            return True
        return False
