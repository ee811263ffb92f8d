# SPDX-License-Identifier: Apache-2.0
"""Names of the frames, and a tree of transforms fed from TF or from a calibration file."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pytransform3d.transform_manager import TransformManager

from deft_core.errors import FrameError
from deft_core.validation import FloatArray, finite_array

BASE_FRAME: Final = 'link_base'
CAMERA_OPTICAL_FRAME: Final = 'camera_color_optical_frame'


class TransformTree:
    """Rigid transforms between named frames; the newest of each pair wins."""

    def __init__(self) -> None:
        """Start without frames."""
        self._manager = TransformManager()

    def add(self, target: str, source: str, T_target_source: npt.ArrayLike) -> None:
        """Set the transform that maps coordinates in `source` to `target`. Shape (4, 4). [m]."""
        matrix = finite_array(f'T_{target}_{source}', T_target_source, (4, 4))
        self._manager.add_transform(source, target, np.array(matrix))

    def get(self, target: str, source: str) -> FloatArray:
        """`T_target_source`, shape (4, 4). [m].

        Raises:
            FrameError: One of the frames is unknown or they are not connected.
        """
        known = sorted(str(frame) for frame in self._manager.nodes)
        for frame in (target, source):
            if frame not in known:
                raise FrameError(
                    f'Frame {frame!r} is unknown; known frames: {known or "none yet"}. '
                    'Is the calibration publisher running?'
                )
        try:
            return np.asarray(self._manager.get_transform(source, target), dtype=np.float64)
        except KeyError as error:
            raise FrameError(
                f'Frames {target!r} and {source!r} are not connected; known frames: {known}.'
            ) from error
