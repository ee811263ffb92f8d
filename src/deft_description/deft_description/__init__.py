# SPDX-License-Identifier: Apache-2.0
"""Geometry of the robot: xArm6 arm and DASH-like tendon hand as MuJoCo models."""
