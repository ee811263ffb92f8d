# SPDX-License-Identifier: Apache-2.0
"""From camera images to one object on the table, in the base frame of the robot."""
