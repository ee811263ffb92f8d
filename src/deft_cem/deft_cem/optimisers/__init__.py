# SPDX-License-Identifier: Apache-2.0
"""Optimisers of the residual behind one ask/tell interface; `registry` makes them by name."""
