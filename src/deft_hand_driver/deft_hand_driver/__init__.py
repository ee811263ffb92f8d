# SPDX-License-Identifier: Apache-2.0
"""Tendon hand: description, tendon map, command limits and the node that drives it."""
