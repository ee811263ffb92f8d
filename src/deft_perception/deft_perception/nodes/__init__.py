# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes of this package; the algorithms are one level up and know no ROS."""
