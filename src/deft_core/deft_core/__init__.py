# SPDX-License-Identifier: Apache-2.0
"""The closed list of things that every floor of DEFT shares."""
