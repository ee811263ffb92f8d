# SPDX-License-Identifier: Apache-2.0
"""Simulated time against a clock that the test moves."""

from __future__ import annotations

import pytest

from deft_sim.pacing import Pacer


class Hands:
    """A clock moved by hand. [s]."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize('factor', [0.5, 1.0, 4.0])
def test_simulated_time_keeps_step(factor: float) -> None:
    clock = Hands()
    pacer = Pacer(factor, longest_step=1.0, clock=clock)
    steps = 0
    for _ in range(1000):
        clock.now += 0.007
        steps += pacer.due(0.01)
    assert steps * 0.01 == pytest.approx(7.0 * factor, abs=0.011)


def test_nothing_is_due_before_a_step_is_over() -> None:
    clock = Hands()
    pacer = Pacer(1.0, longest_step=1.0, clock=clock)
    clock.now += 0.009
    assert pacer.due(0.01) == 0
    clock.now += 0.002
    assert pacer.due(0.01) == 1


def test_a_long_pause_is_not_made_up_for() -> None:
    clock = Hands()
    pacer = Pacer(2.0, longest_step=0.1, clock=clock)
    clock.now += 30.0
    assert pacer.due(0.01) in {9, 10}
    assert pacer.due(0.01) <= 1
