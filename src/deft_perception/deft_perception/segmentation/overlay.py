# SPDX-License-Identifier: Apache-2.0
"""What perception found, drawn into the colour image for a person to judge."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from deft_core.camera import ColorImage, RgbdFrame
from deft_core.observation import ObjectObservation
from deft_core.rotations import invert_transform, transform_points
from deft_core.validation import FloatArray
from deft_perception.segmentation.quality import flags_of

_OUTLINE: Final = (255, 200, 0)
_CROP: Final = (255, 255, 255)
_CONTACT: Final = (255, 0, 160)
_AXES: Final = ((255, 60, 60), (60, 220, 60), (80, 120, 255))  # longest, middle, shortest
_TEXT: Final = (255, 255, 255)
_BACK: Final = (30, 30, 30)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE: Final = 0.45


def draw_overlay(
    frame: RgbdFrame,
    observation: ObjectObservation,
    T_base_camera: npt.ArrayLike,
    contact_point: npt.ArrayLike | None = None,
) -> ColorImage:
    """Copy of the colour image with mask outline, crop, box axes and contact point.

    Args:
        frame: The image in which the object was found.
        observation: What was found.
        T_base_camera: Of the camera. Shape (4, 4). [m].
        contact_point: Where the hand is to touch, base frame. Shape (3,). [m].
    """
    image = frame.color.copy()
    contours, _ = cv2.findContours(
        observation.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(image, contours, -1, _OUTLINE, 2, cv2.LINE_AA)
    x0, y0, x1, y1 = observation.crop_box
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), _CROP, 1)
    camera_from_base = invert_transform(T_base_camera)
    for axis in range(3):
        reach = 0.5 * observation.extents[axis] * observation.axes[:, axis]
        ends = np.stack([observation.centre - reach, observation.centre + reach])
        pixels = _pixels(frame, camera_from_base, ends)
        if pixels is not None:
            cv2.arrowedLine(
                image, pixels[0], pixels[1], _AXES[axis], 2, cv2.LINE_AA, tipLength=0.12
            )
    if contact_point is not None:
        pixels = _pixels(frame, camera_from_base, np.asarray(contact_point, dtype=np.float64))
        if pixels is not None:
            cv2.drawMarker(image, pixels[0], _CONTACT, cv2.MARKER_TILTED_CROSS, 18, 2, cv2.LINE_AA)
    centre = ', '.join(f'{value:.3f}' for value in observation.centre)
    size = ' x '.join(f'{1000.0 * value:.0f}' for value in observation.extents)
    flags = flags_of(observation)
    lines = [f'centre {centre} m', f'box {size} mm', *flags]
    for row, text in enumerate(lines):
        origin = (8, 20 + 18 * row)
        # A box behind the letters, not thicker letters: OpenCV 5 spaces those differently.
        width = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0]
        cv2.rectangle(image, (5, origin[1] - 13), (11 + width, origin[1] + 4), _BACK, cv2.FILLED)
        cv2.putText(image, text, origin, _FONT, _FONT_SCALE, _TEXT, 1, cv2.LINE_AA)
    return image


def _pixels(
    frame: RgbdFrame, camera_from_base: FloatArray, points: FloatArray
) -> list[tuple[int, int]] | None:
    """Whole pixels of base points, shape (n, 3) or (3,); None if one lies behind the camera."""
    exact = frame.intrinsics.project(transform_points(camera_from_base, np.atleast_2d(points)))
    if not np.all(np.isfinite(exact)):
        return None
    # Points far outside the image would overflow OpenCV's fixed-point coordinates.
    bounded = np.clip(np.round(exact), -10_000, 10_000).astype(int)
    return [(int(column), int(row)) for column, row in bounded]
