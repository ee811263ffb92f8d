# SPDX-License-Identifier: Apache-2.0
"""Policies that are fitted to the best episodes of practice, behind one interface."""
