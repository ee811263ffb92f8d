# SPDX-License-Identifier: Apache-2.0
"""Time-outs, and a clock that does not count the time in which its process slept."""

from __future__ import annotations

from deft_core.clock import AwakeClock, Deadline


def test_a_deadline_does_not_pass_while_the_process_is_held_up():
    now = [100.0]
    awake = AwakeClock(5.0, lambda: now[0])
    deadline = Deadline(30.0, awake)
    for step, passed, held_ups in ((4.0, False, 0), (60.0, False, 1), (5.0, False, 1)):
        now[0] += step
        assert (deadline.passed, awake.held_ups) == (passed, held_ups)
    assert deadline.remaining == 21.0
    for _ in range(5):
        now[0] += 4.5
        awake()
    assert deadline.passed
    assert awake.held_ups == 1
