# SPDX-License-Identifier: Apache-2.0
"""How long Segment Anything takes on this machine, with the full architecture.

The weights are random: the time does not depend on them, and the published file is not shipped.
Measured are the embedding of a 640x480 picture of the simulated camera, which is computed once per
picture, and the masks for one click and for one box on it.

    python benchmarks/sam_speed.py                   # writes results/sam_speed.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from common import print_table, time_calls, write_result

from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_perception.segment_anything.sam2 import MODELS, Sam2Predictor
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import load_simulation_settings
from deft_sim.tasks import simulated_task

COMMAND: Final = 'python benchmarks/sam_speed.py'


def measure(repetitions: int, name: str = 'hiera_tiny') -> dict[str, Any]:
    """Time embedding and prompts of a model.

    Args:
        repetitions: Pictures to embed.
        name: Of the model.
    """
    settings = load_simulation_settings(config_directory())
    cell = SimulatedCell(settings, simulated_task('pick_cup'))
    color = cell.capture().color
    cell.close()
    torch.manual_seed(0)
    model = MODELS[name]
    network = model.build()
    masks = Sam2Predictor(network, model.image_size)
    pictures = iter(range(1, repetitions + 2))

    def embed() -> None:
        masks.set_image(np.roll(color, next(pictures), axis=1))  # another picture every time

    def median(call: Callable[[], object], repetitions: int) -> float:
        return float(np.median(time_calls(call, repetitions=repetitions)))

    row = {
        'model': f'sam2, {name}',
        'million_parameters': sum(tensor.numel() for tensor in network.parameters()) / 1e6,
        'embedding_s': median(embed, repetitions),
        'click_ms': 1000.0 * median(lambda: masks.at_points([[320, 240]]), 10),
        'box_ms': 1000.0 * median(lambda: masks.in_boxes([[280, 200, 360, 300]]), 10),
    }
    return {'pictures': repetitions, 'models': [row]}


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repetitions', type=int, default=3, help='pictures (%(default)s)')
    options = parser.parse_args()
    try:
        measurements = measure(options.repetitions)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    print_table(measurements['models'])
    write_result('sam_speed', measurements, COMMAND)
    return 0


if __name__ == '__main__':
    sys.exit(main())
