# SPDX-License-Identifier: Apache-2.0
"""A session of practice and trials, without ROS."""
