# SPDX-License-Identifier: Apache-2.0
"""How fast the driver talks to twelve motors, beside the group classes of the maker's SDK.

Simulated servos of DASH run in a process of their own, behind a pseudo-terminal: what is measured
is the driver, the SDK and the kernel, not the time on a wire. Both loops read position, velocity
and current of every motor and write every position in each cycle; they take turns on one port. The
driver reads state, supply, temperature, errors and watchdog of every motor as well, and judges
them. A second part lets the driver run at 100 Hz and measures its processor time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from common import print_table, time_calls, write_result
from dynamixel_sdk import COMM_SUCCESS, GroupSyncRead, GroupSyncWrite, PacketHandler, PortHandler

from deft_core.errors import DeviceError
from deft_hand_driver.description import HandDescription, load_hand_description
from deft_hand_driver.hand import Hand, HandMode, HandSettings
from deft_hand_driver.joint_map import closed_form_map
from dynamixel_simulator.motor_models import CENTRE_PULSE

HAND: Final = 'dash'
GOAL: Final = 116
PRESENT: Final = 126  # current (2), velocity (4), position (4)
PRESENT_SIZE: Final = 10
WARM_UP: Final = 50
REPLY_MARGIN: Final = 0.2  # [s] so that a busy machine makes a cycle late, not lost
CONNECTION_TIME: Final = 20.0  # [s]
RATE: Final = 100.0  # [Hz]


@contextmanager
def servos(folder: Path) -> Iterator[str]:
    """Simulated servos of the hand; gives the path of their port."""
    link = folder / 'hand'
    command = [sys.executable, '-m', 'deft_hand_driver.simulated_hand', '--hand', HAND]
    with subprocess.Popen(
        [*command, '--link', str(link)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline().startswith('port'):
                raise DeviceError('The simulated servos did not start; see above why.')
            yield str(link)
        finally:
            process.terminate()


@contextmanager
def enabled_hand(path: str, description: HandDescription) -> Iterator[Callable[[], None]]:
    """A hand that moves back and forth within its travel; gives what one cycle of it does."""
    settings = HandSettings(
        path, rate=RATE, reply_margin=REPLY_MARGIN, silence_limit=10.0, watchdog=2.0
    )
    hand = Hand(closed_form_map(description), settings)
    poses = [description.pose('half_closed'), 0.5 * description.pose('half_closed')]

    def cycle() -> None:
        now = time.monotonic()
        if hand.settled or hand.sequence == 0:
            hand.command(poses[hand.sequence % 2], 1.0, hand.sequence + 1, now)
        hand.cycle(now)

    try:
        end = time.monotonic() + CONNECTION_TIME
        while hand.sample is None:
            hand.cycle(time.monotonic())
            if time.monotonic() > end:
                raise DeviceError(f'The driver cannot connect: {hand.problem}')
        hand.enable()
        yield cycle
        if hand.mode is not HandMode.ENABLED or hand.statistics.dropped:
            raise DeviceError(f'The measurement is void: {hand.fault or "packets were lost"}.')
    finally:
        hand.finish()


def driver_loop(path: str, description: HandDescription, cycles: int) -> np.ndarray:
    """Duration of each cycle of the driver, as fast as it can. Shape (cycles,). [s]."""
    with enabled_hand(path, description) as cycle:
        return time_calls(cycle, repetitions=cycles, warm_up=WARM_UP)


def plain_loop(path: str, description: HandDescription, cycles: int) -> tuple[np.ndarray, int]:
    """Duration of each cycle of the SDK's group classes [s], and how many read nothing."""
    port, handler = PortHandler(path), PacketHandler(2.0)
    port.setBaudRate(description.bus.baud_rate)
    reading = GroupSyncRead(port, handler, PRESENT, PRESENT_SIZE)
    writing = GroupSyncWrite(port, handler, GOAL, 4)
    identifiers = [motor.id for motor in description.ordered_motors()]
    for identifier in identifiers:
        reading.addParam(identifier)
        writing.addParam(identifier, list(CENTRE_PULSE.to_bytes(4, 'little')))
    measured = np.zeros((len(identifiers), 3))
    lost = 0

    def cycle() -> None:
        nonlocal lost
        lost += reading.txRxPacket() != COMM_SUCCESS
        for row, identifier in enumerate(identifiers):
            measured[row] = (
                reading.getData(identifier, PRESENT, 2),
                reading.getData(identifier, PRESENT + 2, 4),
                reading.getData(identifier, PRESENT + 6, 4),
            )
        goal = CENTRE_PULSE + round(130 + 30 * np.sin(2.0 * time.monotonic()))
        for identifier in identifiers:
            writing.changeParam(identifier, list(goal.to_bytes(4, 'little')))
        writing.txPacket()

    try:
        return time_calls(cycle, repetitions=cycles, warm_up=WARM_UP), lost
    finally:
        port.closePort()


def processor_share(path: str, description: HandDescription, duration: float) -> float:
    """Processor time of the driver at 100 Hz, as a share of one core."""
    with enabled_hand(path, description) as cycle:
        before, begin = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        while time.monotonic() - begin < duration:
            due = time.monotonic() + 1.0 / RATE
            cycle()
            time.sleep(max(0.0, due - time.monotonic()))
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return used / (time.monotonic() - begin)


def main() -> int:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--rounds', type=int, default=5, help='turns of each loop (%(default)s)')
    parser.add_argument('--cycles', type=int, default=1000, help='in each turn (%(default)s)')
    parser.add_argument('--seconds', type=float, default=10.0, help='at 100 Hz (%(default)s)')
    options = parser.parse_args()
    description = load_hand_description(HAND)
    driver, plain, lost = [], [], 0
    with tempfile.TemporaryDirectory() as folder, servos(Path(folder)) as path:
        for _ in range(options.rounds):
            driver.append(driver_loop(path, description, options.cycles))
            durations, missed = plain_loop(path, description, options.cycles)
            plain.append(durations)
            lost += missed
        share = processor_share(path, description, options.seconds)
    # Rounds beside each other see the same machine; other programs disturb single rounds.
    ratios = [float(p.mean() / d.mean()) for d, p in zip(driver, plain, strict=True)]
    rows = [
        {
            'loop': name,
            'cycles_per_s': float(np.median([1.0 / turn.mean() for turn in turns])),
            'p50_ms': float(1e3 * np.percentile(np.concatenate(turns), 50)),
            'p99_ms': float(1e3 * np.percentile(np.concatenate(turns), 99)),
        }
        for name, turns in (('driver', driver), ('GroupSyncRead and GroupSyncWrite', plain))
    ]
    print_table(rows)
    measurements = {
        'cycles_per_s': rows[0]['cycles_per_s'],
        'p99_ms': rows[0]['p99_ms'],
        'cpu_share_100hz': share,
        'ratio_to_plain_loop': float(np.median(ratios)),
        'lowest_ratio_of_a_round': min(ratios),
        'lost_cycles_of_plain_loop': lost,
        'motors': len(description.motor_names),
        'rounds': options.rounds,
        'cycles_per_round': options.cycles,
        'loops': rows,
    }
    print(f'ratio to the plain loop {np.median(ratios):.2f}, lowest {min(ratios):.2f}')
    print(f'processor share at 100 Hz {share:.3f}')
    write_result('hand_bus', measurements, 'python benchmarks/hand_bus.py')
    return 0


if __name__ == '__main__':
    sys.exit(main())
