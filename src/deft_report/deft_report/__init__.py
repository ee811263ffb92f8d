# SPDX-License-Identifier: Apache-2.0
"""What a session achieved, as a page, as charts, and beside other sessions."""

__version__ = '0.1.0'
