# SPDX-License-Identifier: Apache-2.0
"""Cells of the benchmark are measured wherever there are cores, and once."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nine_tasks
import pytest
from nine_tasks import Cell

from deft_cem.settings import load_learning_settings

CELLS = [Cell('pick_cup', 'floors', seed) for seed in range(2)]


def stand_in() -> Callable[..., dict[str, Any]]:
    """Work that a worker is sent whole, as it can import this module only by luck."""

    def measure(cell: Cell, folder: Path) -> dict[str, Any]:
        import time

        import practice  # a neighbour of the script, which only this process has on its path

        assert practice.Practice
        (folder / f'{cell.seed}.begun').touch()
        others = 60.0  # both cells are in work at once, each on a worker of its own
        end = time.monotonic() + others
        while len(list(folder.glob('*.begun'))) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        return {'task': cell.task, 'seed': cell.seed, 'process': os.getpid()}

    return measure


@pytest.mark.timeout(300)  # a cluster starts many processes
def test_two_workers_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster_utils = pytest.importorskip('ray.cluster_utils')
    monkeypatch.setenv('HOME', str(tmp_path))  # where Ray keeps the token of its cluster
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={'num_cpus': 1})
    try:
        cluster.add_node(num_cpus=1)
        work = functools.partial(stand_in(), folder=tmp_path)
        stream = nine_tasks.on_a_cluster(work, CELLS, cluster.address, 1, float('inf'))
        results = list(stream)
    finally:
        cluster.shutdown()
    assert sorted(result['seed'] for result in results) == [0, 1]
    processes = {result['process'] for result in results}
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize(('budget', 'measured'), [(float('inf'), 5), (0.0, 2)])
def test_nothing_is_begun_after_the_budget(budget: float, measured: int) -> None:
    cells = [Cell('pick_cup', 'floors', seed) for seed in range(5)]
    with ThreadPoolExecutor(2) as pool:
        stream = nine_tasks.as_they_come(lambda cell: pool.submit(asdict, cell), cells, 2, budget)
        assert sorted(result['seed'] for result in stream) == list(range(measured))


def test_a_kept_cell_is_found_again_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nine_tasks, 'KEPT', tmp_path)
    monkeypatch.setattr(nine_tasks, 'run_cell', lambda cell, _: asdict(cell))
    settings = load_learning_settings()
    measured = nine_tasks.run_and_keep(CELLS[0], settings)
    assert nine_tasks.kept_results(CELLS, settings) == [measured]
    assert json.loads(CELLS[0].path(settings).read_text()) == measured
