# SPDX-License-Identifier: Apache-2.0
"""`deft hand pose`: move the hand to a named pose, hold it, let go."""

from __future__ import annotations

import argparse
import time

import numpy as np

from deft_hand_driver.bus.discovery import choose_port
from deft_hand_driver.bus.errors import BusError
from deft_hand_driver.bus.port import PATIENT_MARGIN
from deft_hand_driver.bus.session import BusSession
from deft_hand_driver.bus.state import LIMP, BusReport, BusSettings, BusState
from deft_hand_driver.calibration.learned_map import choose_map
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.controller import HandController
from deft_hand_driver.description import HandDescription, load_hand_description
from deft_hand_driver.joint_map import SPOOL

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


def main(arguments: argparse.Namespace) -> int:
    """Run `deft hand pose`."""
    description = load_hand_description(arguments.hand)
    joints = description.pose(arguments.name)
    joint_map, _ = choose_map(arguments.map, description, SPOOL)
    path = choose_port(arguments.port)
    session = BusSession(
        description,
        BusSettings(
            path, rate=_RATE, reply_margin=PATIENT_MARGIN, silence_limit=0.5, end_state=LIMP
        ),
    )
    try:
        _connect(session)
        session.enable()
        controller = HandController(joint_map)
        _observe(controller, session.report())
        controller.enable()
        start = time.monotonic()
        controller.command(joints, arguments.duration, 1, start)
        report = _run(session, controller, None)
        report = _run(session, controller, time.monotonic() + _SETTLING_TIME)
        _print_errors(description, report)
        if arguments.hold is None:
            print('Holding; Ctrl-C lets go.', flush=True)
        end = float('inf') if arguments.hold is None else time.monotonic() + arguments.hold
        try:
            _run(session, controller, end)
        except KeyboardInterrupt:
            print('Letting go.')
    finally:
        session.finish()
    return 0


def _connect(session: BusSession) -> None:
    """Step until the first measurement; a hand that cannot be reached at once is an error."""
    end = time.monotonic() + _CONNECTION_TIME
    while session.report().sample is None:
        session.step(None, 0.0)
        report = session.report()
        if report.fault or time.monotonic() > end:
            raise BusError(report.fault or 'The hand does not answer in time.')


def _observe(controller: HandController, report: BusReport) -> None:
    if report.sample is not None:
        controller.observe(report.sample.positions)


def _run(session: BusSession, controller: HandController, until: float | None) -> BusReport:
    """Cycle until a time on the monotonic clock [s], or until the target is sent in full."""
    while True:
        now = time.monotonic()
        motors = controller.update(now)
        session.step(motors, now)
        report = session.report()
        _observe(controller, report)
        if report.state is not BusState.ACTIVE:
            raise BusError(report.fault)
        if controller.settled if until is None else now >= until:
            return report
        time.sleep(max(0.0, now + 1.0 / _RATE - time.monotonic()))


def _print_errors(description: HandDescription, report: BusReport) -> None:
    assert report.sample is not None
    assert report.sent is not None
    error = report.sent - report.sample.positions
    print_rows(
        ('motor', 'goal rad', 'measured rad', 'current A'),
        [
            (name, f'{goal:.3f}', f'{position:.3f}', f'{current:.3f}')
            for name, goal, position, current in zip(
                description.motor_names,
                report.sent,
                report.sample.positions,
                report.sample.currents,
                strict=True,
            )
        ],
    )
    worst = int(np.argmax(np.abs(error)))
    print(f'Largest difference: {abs(error[worst]):.3f} rad, {description.motor_names[worst]}.')
