# SPDX-License-Identifier: Apache-2.0
"""Episodes, records and bags for every test of this package."""

from __future__ import annotations

from episode_records import records  # noqa: F401
