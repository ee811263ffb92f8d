# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: the same examples on every machine, a ROS domain for every process."""

from __future__ import annotations

import fcntl
import gc
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import hypothesis
import pytest

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

_GRAPHS = {'context', 'graph', 'make_graph', 'make_node'}  # fixtures that make nodes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let nothing of a graph outlive its test.

    What is destroyed halfway, until Python collects it, is still found by the graph of the next
    test: a service with one of its two topics left over is never ready.
    """
    result = yield
    if _GRAPHS & set(getattr(item, 'fixturenames', ())):
        gc.collect()
    return result
