# SPDX-License-Identifier: Apache-2.0
"""`python -m deft_bringup` is `deft`."""

from __future__ import annotations

import sys

from deft_bringup.command_line import main

if __name__ == '__main__':
    sys.exit(main())
