# SPDX-License-Identifier: Apache-2.0
"""From a tracked human hand to the post-grasp trajectory of the robot (paper, section 3.1)."""
