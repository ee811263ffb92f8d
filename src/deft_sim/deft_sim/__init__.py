# SPDX-License-Identifier: Apache-2.0
"""MuJoCo stand-in for table, arm, hand, camera and operator."""
