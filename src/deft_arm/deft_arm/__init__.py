# SPDX-License-Identifier: Apache-2.0
"""Motion planning, safety checks and execution for the xArm6."""
