# SPDX-License-Identifier: Apache-2.0
"""A task's rule chooses among several things, and a part of the chosen one."""

from __future__ import annotations

import numpy as np
import pytest

from deft_core.configuration import build
from deft_core.errors import ConfigurationError, NoObjectError
from deft_core.task import ObjectRule
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.quality import Flag, flags_of
from deft_perception.segmentation.settings import SegmentationSettings


@pytest.fixture
def table(scene, cylinder, box):
    """A tall thin thing, a large flat one, and a long one near the base."""
    bodies = (
        cylinder(0.60, 0.12, 0.025, 0.14),
        box(0.55, -0.12, (0.12, 0.12, 0.05)),
        box(0.36, 0.02, (0.03, 0.20, 0.03)),
    )
    return scene(bodies=bodies, width=640, height=480)


def find(table, click=None, **rule):
    return PlaneSegmentation(SegmentationSettings()).segment(
        table.render(),
        table.pose,
        np.random.default_rng(0),
        click=click,
        rule=build(ObjectRule, rule, 'rule'),
    )


@pytest.mark.parametrize(
    ('rule', 'place'),
    [
        ({}, (0.55, -0.12)),
        ({'choose': 'tallest'}, (0.60, 0.12)),
        ({'choose': 'longest'}, (0.36, 0.02)),
        ({'choose': 'nearest'}, (0.36, 0.02)),
        ({'region': {'lower': [0.5, 0.0, 0.0], 'upper': [0.8, 0.4, 0.3]}}, (0.60, 0.12)),
    ],
)
def test_a_rule_chooses(table, rule, place):
    found = find(table, **rule)
    np.testing.assert_allclose(found.centre[:2], place, atol=0.006)
    assert (Flag.NO_CLEAR_CHOICE in flags_of(found)) == (rule == {})


def test_a_click_outweighs_the_rule(table):
    columns, rows = np.nonzero(find(table, choose='tallest').mask)[::-1]
    click = (int(np.median(columns)), int(np.median(rows)))
    np.testing.assert_allclose(
        find(table, click, choose='longest').centre[:2], (0.60, 0.12), atol=0.006
    )


def test_a_part_is_what_lies_farthest_that_way(table):
    whole = find(table, choose='longest')
    end = find(table, choose='longest', part={'direction': [0.0, -0.5, 0.0], 'depth': 0.05})
    assert end.points[:, 1].max() == pytest.approx(-0.03, abs=0.004)
    assert end.points[:, 1].min() == pytest.approx(-0.08, abs=0.004)
    assert not (end.mask & ~whole.mask).any()
    top = find(table, choose='tallest', part={'direction': [0, 0, 1.0], 'depth': 0.03})
    assert top.points[:, 2].min() == pytest.approx(0.11, abs=0.004)


def test_an_empty_region_says_where_things_are(table):
    with pytest.raises(NoObjectError, match=r'region of the task.*seen at \[0\.\d+'):
        find(table, region={'lower': [0.3, -0.4, 0.0], 'upper': [0.4, -0.3, 0.2]})


@pytest.mark.parametrize(
    ('rule', 'words'),
    [
        ({'choose': 'tall'}, "did you mean 'tallest'"),
        ({'part': {'direction': [0, 0, 0], 'depth': 0.1}}, 'must not be zero'),
        ({'region': {'lower': [1, 0, 0], 'upper': [0, 1, 1]}}, 'lower < upper'),
    ],
)
def test_wrong_rules_are_refused(rule, words):
    with pytest.raises(ConfigurationError, match=words):
        build(ObjectRule, rule, 'rule')
