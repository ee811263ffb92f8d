# SPDX-License-Identifier: Apache-2.0
"""Which objects of a task are for practice and which are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deft_core.configuration import config_directory
from deft_core.task import load_task, task_names


def known_object_sets(task: str) -> Mapping[str, Sequence[str]]:
    """Objects by set of a task of config/tasks; empty for a task that is not there any more."""
    directory = config_directory()
    return load_task(task, directory).object_sets if task in task_names(directory) else {}
