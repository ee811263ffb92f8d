# SPDX-License-Identifier: Apache-2.0
"""From heat maps to a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft_core.errors import InvalidInputError, NoObjectError
from deft_perception.contact.heat_map import contact_pixel

FULL = np.ones((240, 320), dtype=bool)


def peak(row, column, side=8):
    heat = np.zeros((side, side))
    heat[row, column] = 3.0
    return heat


@given(
    side=st.integers(8, 64),
    cell=st.integers(1, 6),
    x0=st.integers(0, 80),
    y0=st.integers(0, 40),
    data=st.data(),
)
def test_a_peak_lands_in_the_middle_of_its_cell(side, cell, x0, y0, data):
    row = data.draw(st.integers(0, side - 1))
    column = data.draw(st.integers(0, side - 1))
    mask = np.ones((y0 + side * cell, x0 + side * cell), dtype=bool)
    box = (x0, y0, x0 + side * cell, y0 + side * cell)
    found = contact_pixel(peak(row, column, side), box, mask)
    # The pixels of a cell are x0 + cell * column ... + cell - 1; their mean is its centre.
    assert found.column == pytest.approx(x0 + cell * column + (cell - 1) / 2.0)
    assert found.row == pytest.approx(y0 + cell * row + (cell - 1) / 2.0)
    assert found.moved == 0.0


def test_several_maps_are_averaged_after_their_expectation():
    """A map with a larger sum does not weigh more (paper, section 3.1)."""
    maps = np.stack([peak(0, 0), 100.0 * peak(7, 7)])
    found = contact_pixel(maps, (0, 0, 8, 8), FULL)
    assert (found.column, found.row) == pytest.approx((3.5, 3.5))


def test_an_average_beside_the_object_moves_to_its_nearest_pixel():
    ring = np.zeros((240, 320), dtype=bool)
    ring[100:120, 100:120] = True
    ring[104:120, 104:116] = False
    maps = np.stack([peak(4, 0, 20), peak(4, 19, 20)])
    found = contact_pixel(maps, (100, 100, 120, 120), ring)
    assert ring[round(found.row), round(found.column)]
    assert (found.column, found.row) in [(109.0, 103.0), (110.0, 103.0)]
    assert found.moved == pytest.approx(np.hypot(0.5, 1.0))


@pytest.mark.parametrize(
    ('heat', 'box', 'words'),
    [
        (np.zeros((4, 4)), (0, 0, 4, 4), 'sum to zero'),
        (np.full((4, 4), -1.0), (0, 0, 4, 4), 'negative'),
        (np.full((4, 4), np.nan), (0, 0, 4, 4), 'finite'),
        (np.ones(4), (0, 0, 4, 4), 'shape'),
        (np.ones((4, 4)), (4, 0, 4, 4), 'Crop'),
        (np.ones((4, 4)), (300, 0, 340, 40), 'Crop'),
        (np.ones((4, 4)), (-1, 0, 3, 4), 'Crop'),
    ],
)
def test_wrong_maps_and_crops_are_refused(heat, box, words):
    with pytest.raises(InvalidInputError, match=words):
        contact_pixel(heat, box, FULL)


def test_an_empty_mask_is_refused():
    with pytest.raises(NoObjectError, match='mask'):
        contact_pixel(peak(1, 1), (0, 0, 8, 8), np.zeros((240, 320), dtype=bool))
