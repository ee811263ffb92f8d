# SPDX-License-Identifier: Apache-2.0
"""From an observed object and a task to a first grasp, xi in the paper."""
