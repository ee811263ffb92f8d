# SPDX-License-Identifier: Apache-2.0
"""A grasp or the way home, planned and checked completely before anything moves."""
