# SPDX-License-Identifier: Apache-2.0
"""`python -m deft_bringup` is `deft`."""

from __future__ import annotations

import os
import sys

from deft_bringup.command_line import main

if __name__ == '__main__':
    try:
        exit_code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_code = 0
    sys.exit(exit_code)
