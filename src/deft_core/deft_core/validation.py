# SPDX-License-Identifier: Apache-2.0
"""Checks of numbers at the border of a class or a node."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deft_core.errors import InvalidInputError, shown

FloatArray = npt.NDArray[np.float64]


def finite_array(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """A read-only float64 copy of `value`; -1 in the shape matches any length.

    Raises:
        InvalidInputError: Not numeric, another shape, or not finite.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f'{name} must be numbers of shape {shape}, got {shown(value)}.'
        ) from error
    fits = array.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise InvalidInputError(f'{name} must have shape {shape}, got {array.shape}.')
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong) > 0:
        first = tuple(int(i) for i in wrong[0])
        more = f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''
        raise InvalidInputError(f'{name} must be finite, got {array[first]} at {first}{more}.')
    array.setflags(write=False)
    return array
