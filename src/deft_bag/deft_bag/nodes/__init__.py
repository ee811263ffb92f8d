# SPDX-License-Identifier: Apache-2.0
"""ROS nodes that play and record bags."""
