# SPDX-License-Identifier: Apache-2.0
"""Instructions for one servo, and how the parameters of group instructions are laid out."""

from __future__ import annotations

from typing import Final

from dynamixel_simulator.packet import Instruction, Packet, StatusError
from dynamixel_simulator.servo import SimulatedServo

HEAD_SIZE: Final = 4  # bytes of address and size, at the start of reads and sync instructions

_CLEAR_TURNS: Final = b'\x01\x44\x58\x4c\x22'
_RESET_ALL, _RESET_KEEP_ID, _RESET_KEEP_ID_AND_RATE = 0xFF, 0x01, 0x02
_ANSWERS_PINGS, _ANSWERS_READS, _ANSWERS_ALL = 0, 1, 2


def execute(servo: SimulatedServo, packet: Packet) -> tuple[int, bytes]:
    """Do what an instruction asks of one servo.

    Args:
        servo: The servo.
        packet: The instruction; not one for a group.

    Returns:
        Error number and data of the answer.
    """
    parameters = packet.parameters
    match packet.instruction:
        case Instruction.PING:
            return StatusError.NONE, servo.identity()
        case Instruction.READ:
            if len(parameters) != HEAD_SIZE:
                return StatusError.DATA_LENGTH, b''
            return servo.read(*two_words(parameters, 0))
        case Instruction.WRITE | Instruction.REG_WRITE:
            if len(parameters) < 2:
                return StatusError.DATA_LENGTH, b''
            address = parameters[0] | parameters[1] << 8
            if packet.instruction == Instruction.WRITE:
                return servo.write(address, parameters[2:]), b''
            return servo.register_write(address, parameters[2:]), b''
        case Instruction.ACTION:
            return servo.action(), b''
        case Instruction.REBOOT:
            servo.reboot()
            return StatusError.NONE, b''
        case Instruction.CLEAR:
            if parameters != _CLEAR_TURNS:
                return StatusError.DATA_RANGE, b''
            return servo.clear_turns(), b''
        case Instruction.FACTORY_RESET:
            return _factory_reset(servo, parameters), b''
        case _:
            return StatusError.INSTRUCTION, b''


def _factory_reset(servo: SimulatedServo, parameters: bytes) -> int:
    if len(parameters) != 1:
        return StatusError.DATA_LENGTH
    option = parameters[0]
    if option not in (_RESET_ALL, _RESET_KEEP_ID, _RESET_KEEP_ID_AND_RATE):
        return StatusError.DATA_RANGE
    servo.factory_reset(
        keep_id=option != _RESET_ALL, keep_baud_rate=option == _RESET_KEEP_ID_AND_RATE
    )
    return StatusError.NONE


def level_needed(instruction: int) -> int:
    """Lowest status return level at which an instruction is answered."""
    if instruction == Instruction.PING:
        return _ANSWERS_PINGS
    return _ANSWERS_READS if instruction == Instruction.READ else _ANSWERS_ALL


def two_words(data: bytes, place: int) -> tuple[int, int]:
    """Two little-endian numbers of two bytes each, from a place on."""
    return data[place] | data[place + 1] << 8, data[place + 2] | data[place + 3] << 8


def sync_requests(parameters: bytes) -> list[tuple[int, int, int]]:
    """Id, address and size of each servo in a sync read; none when it is malformed."""
    if len(parameters) < HEAD_SIZE:
        return []
    address, size = two_words(parameters, 0)
    return [(identifier, address, size) for identifier in parameters[HEAD_SIZE:]]


def bulk_requests(parameters: bytes) -> list[tuple[int, int, int]]:
    """Id, address and size of each servo in a bulk read."""
    return [
        (parameters[place], *two_words(parameters, place + 1))
        for place in range(0, len(parameters) - 4, 5)
    ]
