# SPDX-License-Identifier: Apache-2.0
"""Which policy and why, from what policy.json says and from files that say less."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft_report import build
from deft_report.policy_story import Candidate, tell

CHOSEN = {
    'kind': 'elite_mean',
    'encoder': 'gradient_color_1',
    'details': {
        'elite_episodes': ['a', 'b', 'c'],
        'practice_episodes': 12,
        'reason': 'residual_vae predicts left-out elites worse than their mean; it is used',
        'candidates': [
            {'kind': 'residual_vae', 'left_out_error': 0.6725, 'skill': -0.0266},
            {'kind': 'elite_mean', 'left_out_error': 0.6551, 'skill': 0.0},
            {'kind': 'ridge', 'left_out_error': None},
        ],
    },
}


def test_the_story_of_a_choice() -> None:
    story = tell(CHOSEN)
    assert story is not None
    assert story.name == 'elite mean'
    assert story.basis == (
        'Trained on the 3 best of 12 practice episodes, images seen through gradient_color_1.'
    )
    assert story.reason == (
        'Residual vae predicts left-out elites worse than their mean; it is used.'
    )
    assert story.candidates == (
        Candidate('elite mean', '0.655', '+0.00', deployed=True),
        Candidate('residual vae', '0.672', '-0.03', deployed=False),
        Candidate('ridge', '-', '-', deployed=False),
    )


@pytest.mark.parametrize(
    'policy',
    [
        {},
        {'kind': 'mlp'},
        {'kind': 'mlp', 'details': None},
        {'kind': 'mlp', 'details': {'candidates': 'none', 'reason': 3, 'elite_episodes': 7}},
        {'kind': 'mlp', 'details': {'candidates': [1, {}], 'left_out_error': 0.5}},
    ],
)
def test_files_that_say_less_make_shorter_stories(policy, partial) -> None:
    story = tell(policy)
    assert story is not None
    assert story.reason == story.basis == ''
    page = build.render(replace(partial, policy=policy), 'deft report')
    assert f'Deployed: {story.name}.' in page


def test_a_file_of_the_first_version_still_tells_its_skill() -> None:
    story = tell({'kind': 'residual_vae', 'details': {'left_out_error': {'skill': 0.25}}})
    assert story is not None
    assert story.candidates == (Candidate('residual vae', '-', '+0.25', deployed=True),)


def test_no_policy_no_story(partial) -> None:
    assert tell(None) is None
    assert 'Which policy' not in build.render(partial, 'deft report')
