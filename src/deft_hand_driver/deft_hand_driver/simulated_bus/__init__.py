# SPDX-License-Identifier: Apache-2.0
"""Simulated Dynamixel servos on a pseudo-terminal, with faults that can be switched on."""
