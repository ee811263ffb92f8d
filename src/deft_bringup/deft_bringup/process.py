# SPDX-License-Identifier: Apache-2.0
"""One process to be started: what the interpreter decides and the supervisor runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Output = Literal['screen', 'log', 'both']


@dataclass(frozen=True)
class ProcessPlan:
    """A process of a launch.

    Attributes:
        label: Name and running number, as in `arm_node-4`; prefix of its output.
        command: Program and arguments.
        environment: Variables added to the environment of the launch.
        cwd: Working directory; None for that of the launch.
        output: `screen`, `log` (log file, and standard error on the screen) or `both`.
        required: Its end ends the whole launch.
        respawn: Start again when it ends while the launch goes on.
        respawn_delay: Pause before that. [s]
        respawn_max_retries: How often; negative means without bound.
    """

    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    output: Output = 'screen'
    required: bool = False
    respawn: bool = False
    respawn_delay: float = 0.0
    respawn_max_retries: int = -1
