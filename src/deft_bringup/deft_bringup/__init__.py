# SPDX-License-Identifier: Apache-2.0
"""Launch files, configuration and the `deft` command."""

__version__ = '0.1.0'
