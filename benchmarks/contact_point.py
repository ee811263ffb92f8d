# SPDX-License-Identifier: Apache-2.0
"""How exactly a heat map on an object becomes a 3D contact point (paper, section 3.1).

All cups of pick_cup stand at random places in the simulated cell. A random pixel that shows
the object is the wanted contact; a heat map of the affordance model's size over the crop peaks
there.
The picture has the noise, holes and lost edges of a stereo camera. Truth is the cast of the same
pixel's ray into the noise-free depth. Both use the true pose of the camera: the error of the
calibration, which config/simulation/cell.yaml sets on purpose, is measured by its own benchmark.

    python benchmarks/contact_point.py               # writes results/contact_point.json
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from common import interval, print_table, write_result

from deft_core.camera import CameraIntrinsics, RgbdFrame
from deft_core.configuration import config_directory
from deft_core.errors import DeftError
from deft_core.observation import ObjectObservation
from deft_core.rotations import transform_points
from deft_core.validation import FloatArray
from deft_perception.contact.contact_point import (
    ContactDepthError,
    locate_contact,
)
from deft_perception.contact.heat_map import contact_pixel
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.settings import SegmentationSettings
from deft_sim.cell import SimulatedCell
from deft_sim.configuration import load_simulation_settings
from deft_sim.tasks import simulated_task

COMMAND: Final = 'python benchmarks/contact_point.py'
HEAT_MAP_SIDE: Final = 56  # cells of the affordance model's heat map
HEAT_MAP_SIGMA: Final = 1.5  # cells
EDGE: Final = 3  # pixels from the outline of the object
LEAST_ABOVE_TABLE: Final = 0.003  # [m] lower pixels are not told from the table
SETTLE_TIME: Final = 0.2  # [s]
OBJECT_REACH: Final = 0.12  # [m] around the object's axis; the arm at home is farther away


def object_pixels(exact: RgbdFrame, pose: FloatArray, position: FloatArray) -> npt.NDArray[Any]:
    """Pixels that show the object, from exact depth and the place of the object."""
    points = exact.intrinsics.deproject(exact.depth).reshape(-1, 3)
    points = transform_points(pose, points)
    near = np.hypot(points[:, 0] - position[0], points[:, 1] - position[1]) < OBJECT_REACH
    shape = (exact.intrinsics.height, exact.intrinsics.width)
    return np.asarray((near & (points[:, 2] > LEAST_ABOVE_TABLE)).reshape(shape))


def heat_map(pixel: tuple[float, float], crop_box: tuple[int, int, int, int]) -> FloatArray:
    """A blob around a pixel. Shape (side, side)."""
    x0, y0, x1, y1 = crop_box
    u = (pixel[0] + 0.5 - x0) * HEAT_MAP_SIDE / (x1 - x0) - 0.5
    v = (pixel[1] + 0.5 - y0) * HEAT_MAP_SIDE / (y1 - y0) - 0.5
    cells = np.arange(HEAT_MAP_SIDE)
    squares = (cells[None, :] - u) ** 2 + (cells[:, None] - v) ** 2
    return np.asarray(np.exp(-0.5 * squares / HEAT_MAP_SIGMA**2))


def exact_point(
    depth: npt.NDArray[np.float32],
    camera: CameraIntrinsics,
    pose: FloatArray,
    column: float,
    row: float,
) -> FloatArray:
    """Where the ray through the nearest pixel centre meets the scene. Shape (3,). [m]."""
    u, v = round(column), round(row)
    z = float(depth[v, u])
    ray = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1.0])
    return np.asarray(pose[:3, :3] @ (z * ray) + pose[:3, 3])


def measure(scenes: int, points_per_scene: int) -> dict[str, Any]:
    """Run all objects in random scenes.

    Args:
        scenes: Layouts per object.
        points_per_scene: Contact points in each picture.
    """
    segmentation = PlaneSegmentation(SegmentationSettings())
    simulation = load_simulation_settings(config_directory())
    task = simulated_task('pick_cup')
    names = task.object_names
    cell = SimulatedCell(simulation, task)
    rows: list[dict[str, Any]] = []
    scene_medians: list[float] = []
    refused = 0
    for name in names:
        for scene in range(scenes):
            cell.reset_scene(name, scene)
            cell.advance(SETTLE_TIME)
            frame, exact, pose = cell.capture(), cell.capture_exact(), cell.camera_pose()
            rng = np.random.default_rng([scene, names.index(name)])
            observation = segmentation.segment(frame, pose, rng)
            shown = object_pixels(exact, pose, cell.object_position())
            found = [
                _contact(frame, exact, observation, pose, pixel)
                for pixel in _draw(shown, points_per_scene, rng)
            ]
            refused += sum(row is None for row in found)
            kept = [row for row in found if row is not None]
            inner = cv2.erode(shown.astype(np.uint8), np.ones((2 * EDGE + 1, 2 * EDGE + 1)))
            for row in kept:
                row['edge'] = not inner[row.pop('row'), row.pop('column')]
            rows += [{'object': name, **row} for row in kept]
            scene_medians.append(float(np.median([row['error'] for row in kept])))
    cell.close()
    return _summary(rows, scene_medians, refused, names)


def _draw(
    shown: npt.NDArray[Any], count: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    rows, columns = np.nonzero(shown)
    chosen = rng.integers(0, len(rows), count)
    return [(float(columns[index]), float(rows[index])) for index in chosen]


def _contact(
    frame: RgbdFrame,
    exact: RgbdFrame,
    observation: ObjectObservation,
    pose: FloatArray,
    wanted: tuple[float, float],
) -> dict[str, Any] | None:
    crop, mask, camera = observation.crop_box, observation.mask, frame.intrinsics
    pixel = contact_pixel(heat_map(wanted, crop), crop, mask)
    column, row = round(pixel.column), round(pixel.row)
    try:
        contact = locate_contact(frame.depth, mask, camera, pose, (float(column), float(row)))
    except ContactDepthError:
        return None
    truth = exact_point(exact.depth, camera, pose, column, row)
    return {
        'row': row,
        'column': column,
        'error': float(np.linalg.norm(contact.position - truth)),
        'uncertainty': contact.uncertainty,
        'method': str(contact.method),
    }


def _summary(
    rows: list[dict[str, Any]], scene_medians: list[float], refused: int, names: list[str]
) -> dict[str, Any]:
    error = 1000.0 * np.array([row['error'] for row in rows])
    sigma = 1000.0 * np.array([row['uncertainty'] for row in rows])
    edge = np.array([row['edge'] for row in rows])
    plane = np.array([row['method'] == 'plane' for row in rows])

    def part(label: str, chosen: npt.NDArray[np.bool_]) -> dict[str, Any]:
        return {
            'contacts_at': label,
            'points': int(np.count_nonzero(chosen)),
            'median_mm': float(np.median(error[chosen])),
            'p95_mm': float(np.percentile(error[chosen], 95)),
            'within_two_sigma': float(np.mean(error[chosen] < 2.0 * sigma[chosen])),
        }

    return {
        'points': len(rows),
        'scenes': len(scene_medians),
        'refused': refused,
        'median_mm': float(np.median(error)),
        'p95_mm': float(np.percentile(error, 95)),
        'maximum_mm': float(error.max()),
        'median_of_a_scene_mm': interval(1000.0 * np.array(scene_medians)),
        'within_two_sigma': float(np.mean(error < 2.0 * sigma)),
        'parts': [
            part('more than 3 pixels inside', ~edge),
            part('3 pixels to the outline', edge),
            part('pixels with depth around them', ~plane),
            part('pixels in holes or lost edges', plane),
            *(part(name, np.array([row['object'] == name for row in rows])) for name in names),
        ],
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=20, help='layouts per object')
    parser.add_argument('--points', type=int, default=50, help='contact points per picture')
    options = parser.parse_args()
    try:
        measurements = measure(options.scenes, options.points)
        single = {key: value for key, value in measurements.items() if key != 'parts'}
        print_table([{'quantity': key, 'value': value} for key, value in single.items()])
        print()
        print_table(measurements['parts'])
        write_result('contact_point', measurements, COMMAND)
    except DeftError as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    return 0


if __name__ == '__main__':
    sys.exit(main())
