# SPDX-License-Identifier: Apache-2.0
"""Draw what perception makes of one simulated picture: depth, object, normals, contact point."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deft_core.camera import ColorImage, RgbdFrame
from deft_core.configuration import config_directory
from deft_core.errors import ConfigurationError, DeftError, InvalidInputError, RecordingError
from deft_core.observation import ObjectObservation
from deft_perception.contact.contact_point import (
    ContactPoint,
    locate_contact,
)
from deft_perception.contact.heat_map import contact_pixel
from deft_perception.segmentation.overlay import draw_overlay
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import load_simulation_settings
from deft_sim.tasks import simulated_task

_SETTLE_TIME = 0.2  # [s]
_HEAT_MAP_SIDE = 56  # cells


def main(arguments: list[str] | None = None) -> int:
    """Segment one picture and draw it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('output', type=Path, help='picture to write, .png or .webp')
    parser.add_argument('--task', default='pick_cup', help='whose scene (%(default)s)')
    parser.add_argument('--object', help='on the table; the first of the task by default')
    parser.add_argument('--seed', type=int, default=0, help='of the scene (%(default)s)')
    options = parser.parse_args(arguments)
    try:
        _draw(options.task, options.object, options.seed, options.output)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError | InvalidInputError) else 3
    print(f'wrote {options.output}')
    return 0


def _draw(task: str, name: str | None, seed: int, output: Path) -> None:
    settings = load_simulation_settings(config_directory())
    cell = SimulatedCell(settings, simulated_task(task), name, scene_seed=seed)
    cell.advance(_SETTLE_TIME)
    frame, pose = cell.capture(), settings.calibration.T_base_camera
    cell.close()
    segmentation = PlaneSegmentation(SegmentationSettings())
    observation = segmentation.segment(frame, pose, np.random.default_rng(seed))
    contact = _contact(frame, observation)
    figure = Figure(figsize=(13.0, 3.9), layout='constrained')
    FigureCanvasAgg(figure)
    aspect = frame.intrinsics.width / frame.intrinsics.height
    depth, found, normals = figure.subplots(1, 3, width_ratios=(aspect, aspect, 1.0))
    depth.set_title('depth as the camera gives it [m]', fontsize=10)
    depth.imshow(frame.depth, cmap='viridis', vmin=0.4, vmax=1.1)
    found.set_title(
        f'mask, crop, box, contact within {1000.0 * contact.uncertainty:.1f} mm', fontsize=10
    )
    found.imshow(draw_overlay(frame, observation, pose, contact.position))
    normals.set_title('normals of the seen points', fontsize=10)
    normals.imshow(_normals(frame, observation))
    for axes in (depth, found, normals):
        axes.set_axis_off()
    try:
        figure.savefig(output, dpi=100)
    except (OSError, ValueError) as error:
        raise RecordingError(f'Cannot write the picture {output}: {error}') from error


def _contact(frame: RgbdFrame, observation: ObjectObservation) -> ContactPoint:
    """Contact of a heat map that peaks in the middle of the crop, as a model would give one."""
    cells = np.arange(_HEAT_MAP_SIDE) - (_HEAT_MAP_SIDE - 1) / 2.0
    heat = np.exp(-0.5 * (cells[None, :] ** 2 + cells[:, None] ** 2) / 9.0)
    pixel = contact_pixel(heat, observation.crop_box, observation.mask)
    assert observation.T_base_camera is not None
    return locate_contact(
        frame.depth,
        observation.mask,
        frame.intrinsics,
        observation.T_base_camera,
        (pixel.column, pixel.row),
    )


def _normals(frame: RgbdFrame, observation: ObjectObservation) -> ColorImage:
    """The crop with its points coloured by their normals: x red, y green, z blue."""
    image = (frame.color // 3).copy()
    assert observation.pixels is not None
    assert observation.normals is not None
    known = np.isfinite(observation.normals[:, 0])
    columns, rows = observation.pixels[known].T
    image[rows, columns] = (127.5 * (1.0 + observation.normals[known])).astype(np.uint8)
    x0, y0, x1, y1 = observation.crop_box
    return image[y0:y1, x0:x1]


if __name__ == '__main__':
    sys.exit(main())
