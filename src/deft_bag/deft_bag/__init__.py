# SPDX-License-Identifier: Apache-2.0
"""Bags of episodes: written once, read without ROS, played again."""
