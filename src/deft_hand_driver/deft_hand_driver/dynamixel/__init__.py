# SPDX-License-Identifier: Apache-2.0
"""Dynamixel motors: serial port, bus, the motors of a hand, their health, who is there."""
