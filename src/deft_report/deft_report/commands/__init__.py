# SPDX-License-Identifier: Apache-2.0
"""Sub-commands of `deft` that belong to this package."""
