# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: the same examples on every machine."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile('deft', derandomize=True, deadline=None)
hypothesis.settings.load_profile('deft')
