# SPDX-License-Identifier: Apache-2.0
"""Practice from a prior: the optimiser, the session around it, its records and the policy."""

__version__ = '0.1.0'
