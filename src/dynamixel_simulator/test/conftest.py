# SPDX-License-Identifier: Apache-2.0
"""A busy machine must not fail a test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')
