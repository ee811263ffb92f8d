# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: the same examples on every machine, a ROS domain for every process."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

import hypothesis

hypothesis.settings.register_profile('deft', derandomize=True, deadline=None)
hypothesis.settings.load_profile('deft')

_DOMAINS = range(1, 101)  # what ROS may use on every system; 0 is where people work
_claims: list[IO[str]] = []


def claim_domain() -> int:
    """A ROS domain that no other test process of this machine has while this one lives."""
    for domain in _DOMAINS:
        path = Path(tempfile.gettempdir()) / f'deft_test_domain_{domain}.lock'
        claim = path.open('a')
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            continue
        _claims.append(claim)
        return domain
    raise RuntimeError('All ROS domains are taken by test processes; wait for them to end.')


# Nodes in this process and programs that it starts take it from here; no test names a domain.
os.environ['ROS_DOMAIN_ID'] = str(claim_domain())
