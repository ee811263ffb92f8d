# SPDX-License-Identifier: Apache-2.0
"""What is measured on one hand: taut tendons, limits, and the learned map of its joints."""
