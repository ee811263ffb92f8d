# SPDX-License-Identifier: Apache-2.0
"""Offscreen pictures of a MuJoCo world: colour and metric depth in one pass."""

from __future__ import annotations

import os
import threading
from typing import Any

import mujoco
import numpy as np

from deft_core.camera import ColorImage, DepthImage
from deft_core.errors import DeviceError

_MAXIMUM_GEOMS = 500
_REMEDY = (
    'install it with `apt-get install libegl1 libgl1-mesa-dri`, and leave the variable MUJOCO_GL '
    'unset or set it to `egl`'
)
_rendering: list[int] = []  # this process, once it has rendered; a fork inherits the entry


class OffscreenRenderer:
    """Renders one fixed camera with EGL; a software driver (Mesa) suffices.

    An OpenGL context belongs to the thread that made it, so everything here must be called from
    the thread that built the object. `mujoco.Renderer` is not used because it opens a context
    per model and needs two passes for colour and depth.

    Raises:
        DeviceError: There is no EGL, or it has no driver.
    """

    def __init__(self, width: int, height: int) -> None:
        """Open the OpenGL context."""
        self._thread = threading.get_ident()
        self._context = _open_context(width, height)
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._options = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._model: mujoco.MjModel | None = None
        self._scene: mujoco.MjvScene | None = None
        self._resources: mujoco.MjrContext | None = None

    def render(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: str
    ) -> tuple[ColorImage, DepthImage]:
        """Take a picture of a state after `mj_forward` or `mj_step`, by a named camera.

        Returns:
            Colour (height, width, 3), and distance along the optical axis (height, width). [m].

        Raises:
            DeviceError: Called from a thread that does not own the OpenGL context.
        """
        self._check_thread()
        self._context.make_current()  # another renderer of this thread may have taken its place
        scene, resources = self._prepare(model)
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        mujoco.mjv_updateScene(
            model,
            data,
            self._options,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            scene,
        )
        mujoco.mjr_render(self._viewport, scene, resources)
        shape = (self._viewport.height, self._viewport.width)
        color = np.empty((*shape, 3), dtype=np.uint8)
        reversed_z = np.empty(shape, dtype=np.float32)
        mujoco.mjr_readPixels(color, reversed_z, self._viewport, resources)
        near = model.vis.map.znear * model.stat.extent
        far = model.vis.map.zfar * model.stat.extent
        # mjDEPTH_ZEROFAR: 1 at the near plane, 0 at the far plane, hyperbolic between them.
        depth = near * far / (near + reversed_z.astype(np.float64) * (far - near))
        # OpenGL rows go up, image rows go down.
        return np.flipud(color).copy(), np.flipud(depth).astype(np.float32)

    def close(self) -> None:
        """Free the OpenGL context; safe to call twice."""
        if self._context is None:
            return
        self._check_thread()
        self._context.make_current()
        if self._resources is not None:
            self._resources.free()
        self._context.free()
        self._context = None

    def _prepare(self, model: mujoco.MjModel) -> tuple[mujoco.MjvScene, mujoco.MjrContext]:
        if self._scene is None or self._resources is None or model is not self._model:
            if self._resources is not None:
                self._resources.free()
            self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)
            self._resources.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
            self._scene = mujoco.MjvScene(model, maxgeom=_MAXIMUM_GEOMS)
            # Shadows double the time of a picture on a software driver.
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            self._model = model
        return self._scene, self._resources

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise DeviceError(
                'The renderer was called from another thread than the one that opened it; '
                'render in the thread that owns the simulated world.'
            )


def _open_context(width: int, height: int) -> Any:
    """An offscreen OpenGL context made current, whatever MuJoCo chose at import."""
    if _rendering and _rendering[0] != os.getpid():  # Mesa would wait for threads it left behind
        raise DeviceError(
            'Cannot render in a process that was forked from one that has rendered; start '
            "processes by spawn (for Gymnasium: vector_kwargs={'context': 'spawn'})."
        )
    _rendering[:] = [os.getpid()]
    backend = os.environ.get('MUJOCO_GL', 'egl') or 'egl'
    try:
        if backend == 'egl':
            from mujoco.egl import GLContext  # noqa: PLC0415 (fails on machines without EGL)
        else:
            from mujoco import GLContext  # noqa: PLC0415
        context = GLContext(width, height)
        context.make_current()
    except (ImportError, AttributeError, RuntimeError) as error:
        # PyOpenGL reports a missing library as an attribute of None.
        raise DeviceError(
            f'Cannot render the simulated camera: no offscreen OpenGL ({backend}) on this '
            f'machine; {_REMEDY}. Cause: {str(error).splitlines()[0]}'
        ) from error
    return context
