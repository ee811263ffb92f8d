# SPDX-License-Identifier: Apache-2.0
"""Client of the Dynamixel bus: port, groups of motors, their health, and the I/O thread."""
