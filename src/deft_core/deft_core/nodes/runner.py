# SPDX-License-Identifier: Apache-2.0
"""The main function of every node."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from deft_core.errors import ConfigurationError, DeftError, InvalidInputError
from deft_core.nodes.exclusive import claim_name

EXIT_OK: Final = 0
EXIT_CONFIGURATION: Final = 2
EXIT_FAILURE: Final = 3
_SIGNAL_LATENCY: Final = 0.1  # [s] Python runs signal handlers between two waits


class NodeFinished(Exception):  # noqa: N818 (a message to the runner, not an error)
    """Raised inside a callback when a node has done its work."""

    def __init__(self, exit_code: int) -> None:
        """Set the exit code."""
        super().__init__(f'finished with exit code {exit_code}')
        self.exit_code = exit_code  # exit code of the process


def run_node(factory: Callable[[], Node], name: str, args: Sequence[str] | None = None) -> int:
    """Create a node, spin it, and bring it to its safe state whatever happens.

    Where another process has the node's `name` (as remapped), the node is not created.

    SIGINT and SIGTERM let the running callback finish; the ROS context is still valid when
    `close()` is called, so that a node can send its last command. A DeftError becomes one
    sentence on stderr.

    Returns:
        Exit code: 0 on a normal end, 2 for wrong configuration, 3 for other refusals.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # a parameter file or a remap rule that ROS cannot read
        reason = str(error).removeprefix('failed to initialize rcl: ').partition(', at /')[0]
        print(f'error: {" ".join(reason.split())}; correct it.', file=sys.stderr)
        return EXIT_CONFIGURATION
    signals: list[int] = []  # a handler may interrupt another one: no lock
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    executor = SingleThreadedExecutor()
    node: Node | None = None
    try:
        claim_name(name).detach()  # until the process ends
        node = factory()
        executor.add_node(node)
        # Nothing that was loaded so far becomes garbage; looking through all of it stalls a node
        # for 0.1 s, torch alone holds 200,000 objects.
        gc.collect()
        gc.freeze()
        while not signals:
            executor.spin_once(timeout_sec=_SIGNAL_LATENCY)
        return EXIT_OK
    except NodeFinished as finished:
        return finished.exit_code
    except (ConfigurationError, InvalidInputError) as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_CONFIGURATION
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_FAILURE
    finally:
        gc.unfreeze()  # what the interpreter does not find at its end, it does not tear down
        if node is not None:
            close = getattr(node, 'close', None)
            if close is not None:
                close()
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
