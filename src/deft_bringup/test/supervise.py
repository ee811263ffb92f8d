# SPDX-License-Identifier: Apache-2.0
"""Runs a supervisor in a process of its own, with short times; the tests signal it.

Usage: supervise.py PLANS LIMITS, both JSON: a list of ProcessPlan fields and StopLimits fields.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from deft_bringup.process import ProcessPlan
from deft_bringup.supervision.guardian import StopLimits
from deft_bringup.supervision.screen import Screen
from deft_bringup.supervision.supervisor import Supervisor
from deft_core.errors import DeftError


def main() -> int:
    plans = [
        ProcessPlan(**{**fields, 'command': tuple(fields['command'])})
        for fields in json.loads(sys.argv[1])
    ]
    screen = Screen(sys.stdout, colour=False, log_folder=Path(os.environ['ROS_LOG_DIR']))
    limits = StopLimits(**json.loads(sys.argv[2]))
    try:
        result = Supervisor(plans, screen, os.environ, limits).run()
    except DeftError as error:
        print(f'error: {error}', flush=True)
        return 2
    finally:
        screen.close()
    print(f'result: {result.sentence}', flush=True)
    return result.exit_code


if __name__ == '__main__':
    sys.exit(main())
