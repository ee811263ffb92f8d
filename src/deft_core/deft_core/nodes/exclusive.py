# SPDX-License-Identifier: Apache-2.0
"""One node of a name in a ROS domain: two of them would command the same robot.

A process claims the name before its node exists, so before anything is published, answered or
called. `run_node` does it for our nodes. Programs of others are started through this module, which
hands the claim over to them: `python3 -m deft_core.nodes.exclusive PROGRAM ARGUMENTS`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
import time
from typing import Final, NoReturn

import rclpy
from rclpy.node import Node

from deft_core.errors import ConfigurationError

# [s] in which nodes of different machines find each other: they announce themselves every 3 s.
_DISCOVERY_TIME: Final = 4.0
_POLL: Final = 0.05  # [s]


def claim_name(default_name: str) -> socket.socket:
    """Claim the name of a node, `default_name` unless the arguments of `rclpy.init` remap it.

    Returns:
        The claim: it ends with the process, however that ends, or when it is closed.

    Raises:
        ConfigurationError: Another process has the name.
    """
    node = rclpy.create_node(default_name, enable_rosout=False, start_parameter_services=False)
    claim = socket.socket(socket.AF_UNIX)
    try:
        name, domain = node.get_fully_qualified_name(), node.context.get_domain_id()
        # The kernel's table of abstract sockets ends where the network of a machine ends, as a
        # domain of ROS does that stays on it.
        key = hashlib.sha256(f'{domain} {name}'.encode()).hexdigest()
        try:
            claim.bind(f'\0deft_node_{key}')
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise _taken(name, domain) from error
        if _reaches_other_machines() and _seen(node, name):
            raise _taken(name, domain)
    except ConfigurationError:
        claim.close()
        raise
    finally:
        node.destroy_node()
    return claim


def _taken(name: str, domain: int) -> ConfigurationError:
    return ConfigurationError(
        f'another node {name} runs in ROS domain {domain}; stop it, or give this launch a domain '
        'of its own with the environment variable ROS_DOMAIN_ID, 0 to 101'
    )


def _reaches_other_machines() -> bool:
    alone = os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '').upper() in ('LOCALHOST', 'OFF')
    return bool(os.environ.get('ROS_STATIC_PEERS')) or not alone


def _seen(node: Node, name: str) -> bool:
    """Whether another node of this name shows up."""
    deadline = time.monotonic() + _DISCOVERY_TIME
    while time.monotonic() < deadline:
        names = [f'{space.rstrip("/")}/{n}' for n, space in node.get_node_names_and_namespaces()]
        if names.count(name) > 1:
            return True
        time.sleep(_POLL)
    return False


def main() -> NoReturn:
    """Become another program that keeps the claim."""
    program = sys.argv[1:]
    rclpy.init(args=program)
    try:
        claim = claim_name('unnamed')
    except ConfigurationError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    finally:
        rclpy.shutdown()
    claim.set_inheritable(True)
    os.execv(program[0], program)  # noqa: S606


if __name__ == '__main__':
    main()
