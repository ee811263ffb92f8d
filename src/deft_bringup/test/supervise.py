# SPDX-License-Identifier: Apache-2.0
"""Runs a supervisor in a process of its own, with short times; the tests signal it.

Usage: supervise.py PLANS LIMITS, both JSON: a list of ProcessPlan fields and StopLimits fields.
"""

from __future__ import annotations

import json
import os
import sys

from deft_bringup.launching.guardian import StopLimits
from deft_bringup.launching.interpreter import ProcessPlan
from deft_bringup.launching.supervisor import Supervisor
from deft_core.errors import DeftError


def main() -> int:
    plans = [
        ProcessPlan(**{**fields, 'command': tuple(fields['command'])})
        for fields in json.loads(sys.argv[1])
    ]
    limits = StopLimits(**json.loads(sys.argv[2]))
    try:
        result = Supervisor(sys.stdout, limits=limits).run(plans, os.environ)
    except DeftError as error:
        print(f'error: {error}', flush=True)
        return 2
    print(f'result: {result.sentence}', flush=True)
    return result.exit_code


if __name__ == '__main__':
    sys.exit(main())
