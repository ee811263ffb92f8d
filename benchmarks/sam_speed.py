# SPDX-License-Identifier: Apache-2.0
"""How long Segment Anything takes on this machine, with the full ViT-B architecture.

The weights are random: the time does not depend on them, and the published file is not shipped.
Measured are the embedding of a 640x480 picture of the simulated camera, which is computed once per
picture, and the masks for one click and for one box on it.

    python benchmarks/sam_speed.py                   # writes results/sam_speed.json
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

import numpy as np
import torch
from common import print_table, time_calls, write_result

from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_perception.sam_model import VIT_B, SamMasks
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import load_simulation_settings

COMMAND: Final = 'python benchmarks/sam_speed.py'


def measure(repetitions: int) -> dict[str, Any]:
    """Time embedding and prompts.

    Args:
        repetitions: Pictures to embed.
    """
    settings = load_simulation_settings(config_directory())
    cell = SimulatedCell(settings, next(iter(settings.objects.cups)), 0)
    color = cell.capture().color
    cell.close()
    torch.manual_seed(0)
    network = VIT_B.build()
    masks = SamMasks(network)
    pictures = iter(range(1, repetitions + 2))

    def embed() -> None:
        masks.show(np.roll(color, next(pictures), axis=1))  # another picture every time

    embedding = time_calls(embed, repetitions=repetitions)
    return {
        'parameters': sum(tensor.numel() for tensor in network.parameters()),
        'embedding_s': float(np.median(embedding)),
        'click_ms': 1000.0 * float(np.median(_prompt(lambda: masks.at_points([[320, 240]])))),
        'box_ms': 1000.0
        * float(np.median(_prompt(lambda: masks.in_boxes([[280, 200, 360, 300]])))),
    }


def _prompt(call: Any) -> np.ndarray:
    return time_calls(call, repetitions=10)


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
    print_table([{'quantity': key, 'value': value} for key, value in measurements.items()])
    write_result('sam_speed', measurements, COMMAND)
    return 0


if __name__ == '__main__':
    sys.exit(main())
