# SPDX-License-Identifier: Apache-2.0
"""The picture of what arm and hand sweep."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from deft_sim.commands.show_arm_checks import main


@pytest.mark.usefixtures('offscreen')
def test_the_picture_shows_envelope_obstacles_and_hand(tmp_path):
    assert main([str(tmp_path / 'sweep.png')]) == 0
    pixels = np.asarray(Image.open(tmp_path / 'sweep.png')).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    for seen in (green - np.maximum(red, blue), red - np.maximum(green, blue), blue - red):
        assert np.count_nonzero(seen > 40) > 300


def test_what_cannot_be_drawn_is_said(tmp_path, capsys):
    assert main([str(tmp_path / 'x.png'), '--position', '2', '0', '0.1']) == 3
    assert 'error: ' in capsys.readouterr().err
    assert main([str(tmp_path / 'x.png'), '--arm', 'xarm7']) == 2
    assert not (tmp_path / 'x.png').exists()
