# SPDX-License-Identifier: Apache-2.0
"""`deft hand calibrate tension`: where the tendons are taut and how far they go, by current."""

from __future__ import annotations

import argparse

from deft_core.configuration import nearest
from deft_core.errors import InvalidInputError
from deft_hand_driver.calibration.tension import TensionFit, measured_motor
from deft_hand_driver.calibration.tension_routine import TensionRoutine, TensionSettings
from deft_hand_driver.commands.table import print_rows
from deft_hand_driver.description import (
    HandDescription,
    MeasuredMotor,
    load_hand_description,
    save_measurements,
)
from deft_hand_driver.dynamixel.bus import DynamixelBus
from deft_hand_driver.dynamixel.discovery import choose_port
from deft_hand_driver.dynamixel.hand_motors import HandMotors

_REPLY_MARGIN = 0.1  # [s] a busy machine may be late; nothing here is in a hurry


def run(arguments: argparse.Namespace) -> int:
    """Measure the chosen motors one after the other."""
    description = load_hand_description(arguments.hand)
    names = _chosen(arguments.motors, description)
    settings = TensionSettings(
        speed=arguments.speed, current=arguments.current, loosen=arguments.loosen
    )
    path = choose_port(arguments.port)
    fits: dict[str, TensionFit] = {}
    with DynamixelBus.open(path, description.bus.baud_rate, _REPLY_MARGIN) as bus:
        motors = HandMotors(bus, description)
        motors.identify()
        motors.configure()
        routine = TensionRoutine(motors, description, settings)
        print(
            f'{len(names)} motors one after the other, each gently to its end and back. Keep your '
            'fingers out; Ctrl-C lets go.',
            flush=True,
        )
        with routine.running():
            for number, name in enumerate(names, start=1):
                print(f'{number} of {len(names)}: {name}', flush=True)
                fits[name] = routine.measure(name)
    measured = {name: measured_motor(description.motors[name], fit) for name, fit in fits.items()}
    _print_table(description, fits, measured)
    if arguments.write:
        file = save_measurements(description.name, measured)
        print(f'Wrote {file}, which is read with the file of the hand.')
        print('A learned map from before must be made again: `deft hand calibrate map`.')
    else:
        print('Nothing was written; --write puts these in.')
    return 0


def _chosen(given: list[str], description: HandDescription) -> list[str]:
    for name in given:
        if name not in description.motor_names:
            raise InvalidInputError(
                f'Hand {description.name} has no motor {name!r}; '
                f'{nearest(name, description.motor_names)}'
            )
    return given or list(description.motor_names)


def _print_table(
    description: HandDescription,
    fits: dict[str, TensionFit],
    measured: dict[str, MeasuredMotor],
) -> None:
    rows = []
    for name, fit in fits.items():
        motor = measured[name]
        numbers = (
            description.motors[name].zero, motor.zero, motor.lower, motor.upper, fit.friction,
            fit.stiffness,
        )  # fmt: skip
        remarks = ['upper stop not met'] if fit.upper_end is None else []
        if fit.both_ways and fit.lower_end is None:
            remarks.append('lower stop not met')
        shown = [f'{number:.3f}' for number in numbers]
        rows.append((name, *shown, ', '.join(remarks) or '-'))
    print_rows(
        (
            'motor', 'zero was', 'zero rad', 'lower rad', 'upper rad', 'friction A', 'A/rad',
            'remark',
        ),
        rows,
    )  # fmt: skip
