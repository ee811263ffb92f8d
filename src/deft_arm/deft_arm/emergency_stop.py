# SPDX-License-Identifier: Apache-2.0
"""Who holds the emergency stop pressed, and whether a station to press it from has been lost.

Everybody may press. A press stays until the one who pressed releases; a station that was there
and is gone counts as pressed, because its button would not be heard.
"""

from __future__ import annotations


class EmergencyStopLatch:
    """State of the emergency stop of all sources together."""

    def __init__(self, *, require_station: bool) -> None:
        """Start released, with no station known.

        Args:
            require_station: Whether nothing moves until a station is there.
        """
        self._require_station = require_station
        self._pressed: dict[str, str] = {}
        self._expected = 0
        self._alive = 0

    def set(self, source: str, pressed: bool, reason: str) -> None:
        """A source presses or releases; a release does not undo the press of another."""
        if pressed:
            self._pressed[source] = reason
        else:
            self._pressed.pop(source, None)

    def stations(self, alive: int) -> None:
        """As many stations are there now."""
        self._alive = alive
        self._expected = max(self._expected, alive)

    @property
    def lost(self) -> int:
        """Stations that were there and are gone."""
        return self._expected - self._alive

    def accept_loss(self) -> None:
        """A person says that the lost stations are gone for good."""
        self._expected = self._alive

    def problem(self) -> str:
        """Why nothing may move, for a person; empty where nothing is pressed or lost."""
        if self._pressed:
            pressed = ', '.join(f'{who} ({why})' for who, why in sorted(self._pressed.items()))
            return f'Emergency stop by {pressed}.'
        if self.lost:
            return (
                f'{self.lost} of {self._expected} emergency stop stations are gone, which counts '
                'as a press; start them again.'
            )
        return ''

    def missing(self) -> str:
        """Why nothing may move yet; empty unless a required station is not there."""
        if self._require_station and not self._alive:
            return 'No emergency stop station is there; start one or set require_station: false.'
        return ''
