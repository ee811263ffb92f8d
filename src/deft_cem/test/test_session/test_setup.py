# SPDX-License-Identifier: Apache-2.0
"""What is checked before a session begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deft_cem.nodes.session_parameters import SessionParameters, make_setup
from deft_core.errors import ConfigurationError


def test_missing_weights_stop_a_session_before_its_first_motion(tmp_path, monkeypatch):
    monkeypatch.setenv('DEFT_WEIGHTS', str(tmp_path))
    settings = tmp_path / 'learning.yaml'
    settings.write_text('policy: {encoder: resnet18}\n')
    parameters = replace(SessionParameters(), settings=str(settings))
    run = tmp_path / 'run'
    with pytest.raises(ConfigurationError, match='is missing in'):
        make_setup(parameters, 'pick_cup', str(run), 0)
    assert not run.exists()
