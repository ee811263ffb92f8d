# SPDX-License-Identifier: Apache-2.0
"""Dynamixel protocol 2.0: packets and control tables, for the driver and for simulated servos."""
