# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from deft_core.errors import ConfigurationError, InvalidInputError
from deft_core.trajectory import WristTrajectory


def make(n=40):
    return WristTrajectory(
        translations=np.tile([0.0, 0.0, 0.004], (n, 1)),
        rotation_vectors=np.tile([0.0, 0.0, np.pi / 2 / n], (n, 1)),
        rate=10.0,
        source='test',
    )


def test_file_round_trip(tmp_path):
    make().save(tmp_path / 't.json')
    loaded = WristTrajectory.load(tmp_path / 't.json')
    np.testing.assert_allclose(loaded.translations, make().translations)
    np.testing.assert_allclose(loaded.rotation_vectors, make().rotation_vectors, atol=1e-6)
    assert (loaded.rate, loaded.source, loaded.frame_id) == (10.0, 'test', 'link_base')


def test_displacements_accumulate_in_base_axes():
    rotation, position = make().poses(np.eye(3), np.array([0.5, 0.0, 0.1]))[-1]
    np.testing.assert_allclose(position, [0.5, 0.0, 0.26])
    np.testing.assert_allclose(rotation @ [1, 0, 0], [0, 1, 0], atol=1e-9)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'schema': 'other/1'}, 'schema'),
        ({'translations_m': [[0, 0, float('nan')]]}, 'finite'),
        ({'rotation_vectors_rad': [[0, 0, 0]]}, 'shape'),
        ({'rate_hz': 0}, 'rate'),
    ],
)
def test_wrong_files_are_refused(tmp_path, change, message):
    path = tmp_path / 't.json'
    make().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigurationError, match=message):
        WristTrajectory.load(path)


def test_lengths_must_agree():
    with pytest.raises(InvalidInputError, match='rotation vectors'):
        WristTrajectory(np.zeros((3, 3)), np.zeros((2, 3)), rate=10.0, source='')
