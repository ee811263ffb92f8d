# SPDX-License-Identifier: Apache-2.0
"""`deft hand pose`: move the hand to a named pose, hold it, let go."""

from __future__ import annotations

import argparse
import time

import numpy as np

from deft_hand_driver.calibration.learned_map import choose_map
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.description import HandDescription, load_hand_description
from deft_hand_driver.dynamixel.bus import PATIENT_MARGIN
from deft_hand_driver.dynamixel.discovery import choose_port
from deft_hand_driver.dynamixel.port import BusError
from deft_hand_driver.hand import LIMP, Hand, HandMode, HandSettings

_RATE = 50.0  # [Hz]
_CONNECTION_TIME = 10.0  # [s]
_SETTLING_TIME = 0.5  # [s] in which the motors catch up with their goals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `deft hand pose`."""
    parser.description = (
        'Move the hand to a pose of its file, within all limits, and hold it. Ctrl-C, or the end '
        'of --hold, lets go: torque off, the fingers open.'
    )
    parser.add_argument('name', metavar='NAME', help='a pose in the file of the hand')
    parser.add_argument(
        '--duration', type=float, default=2.0, metavar='S', help='of the motion (%(default)s s)'
    )
    parser.add_argument(
        '--map', default='', metavar='FILE', help='learned map (default: the closed form)'
    )
    parser.add_argument(
        '--hold', type=float, metavar='S', help='let go after that time (default: on Ctrl-C)'
    )
    parser.set_defaults(action_main=run)


def run(arguments: argparse.Namespace) -> int:
    """Move, hold until told to let go, let go."""
    description = load_hand_description(arguments.hand)
    joints = description.pose(arguments.name)
    joint_map, _ = choose_map(arguments.map, description)
    settings = HandSettings(
        choose_port(arguments.port),
        rate=_RATE,
        reply_margin=PATIENT_MARGIN,
        silence_limit=0.5,
        end_state=LIMP,
    )
    hand = Hand(joint_map, settings)
    try:
        _connect(hand)
        hand.enable()
        hand.command(joints, arguments.duration, 1, time.monotonic())
        _run(hand, None)
        _run(hand, time.monotonic() + _SETTLING_TIME)
        _print_errors(description, hand)
        if arguments.hold is None:
            print('Holding; Ctrl-C lets go.', flush=True)
        end = float('inf') if arguments.hold is None else time.monotonic() + arguments.hold
        try:
            _run(hand, end)
        except KeyboardInterrupt:
            print('Letting go.')
    finally:
        hand.finish()
    return 0


def _connect(hand: Hand) -> None:
    """Cycle until the first measurement; a hand that cannot be reached at once is an error."""
    end = time.monotonic() + _CONNECTION_TIME
    while hand.sample is None:
        hand.cycle(time.monotonic())
        if hand.problem or time.monotonic() > end:
            raise BusError(hand.problem or 'The hand does not answer in time.')


def _run(hand: Hand, until: float | None) -> None:
    """Cycle until a time on the monotonic clock [s], or until the target is sent in full."""
    while True:
        now = time.monotonic()
        hand.cycle(now)
        if hand.mode is not HandMode.ENABLED:
            raise BusError(hand.fault)
        if hand.settled if until is None else now >= until:
            return
        time.sleep(max(0.0, now + 1.0 / _RATE - time.monotonic()))


def _print_errors(description: HandDescription, hand: Hand) -> None:
    assert hand.sample is not None
    assert hand.sent is not None
    error = hand.sent - hand.sample.positions
    print_rows(
        ('motor', 'goal rad', 'measured rad', 'current A'),
        [
            (name, f'{goal:.3f}', f'{position:.3f}', f'{current:.3f}')
            for name, goal, position, current in zip(
                description.motor_names,
                hand.sent,
                hand.sample.positions,
                hand.sample.currents,
                strict=True,
            )
        ],
    )
    worst = int(np.argmax(np.abs(error)))
    print(f'Largest difference: {abs(error[worst]):.3f} rad, {description.motor_names[worst]}.')
