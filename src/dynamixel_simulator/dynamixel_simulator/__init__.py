# SPDX-License-Identifier: Apache-2.0
"""Simulated Dynamixel servos on a pseudo-terminal, and the tables and packets of real ones."""
