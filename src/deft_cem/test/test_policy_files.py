# SPDX-License-Identifier: Apache-2.0
"""policy.safetensors and policy.json: every kind comes back, anything else is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deft_cem.encoders.registry import make_encoder
from deft_cem.policies.choice import KINDS
from deft_cem.policies.condition import PRIOR_FEATURES, BlockProjection, ConditionProjection
from deft_cem.policies.policy import CONFIG_FILE, WEIGHTS_FILE, ResidualPolicy, load_policy
from deft_core.errors import TrainingError
from deft_core.grasp import GraspParameters

SIGMA = np.concatenate([np.full(3, 0.02), np.full(3, 0.2), np.full(16, 0.05)])


def make_policy(kind: str, seed: int = 0) -> ResidualPolicy:
    """A policy of random numbers: files do not depend on how it was trained."""
    rng = np.random.default_rng(seed)
    settings_type, make_method, _ = KINDS[kind]
    method = make_method(settings_type())
    encoder = make_encoder('gradient_color_1')
    blocks = [
        BlockProjection(rng.standard_normal(n), 0.1 * rng.standard_normal((k, n)))
        for k, n in ((2, encoder.dimension), (3, PRIOR_FEATURES))
    ]
    tensors = {n: 0.3 * rng.standard_normal(shape) for n, shape in method.shapes(5).items()}
    if 'euler_period' in tensors:
        tensors['euler_period'] = np.full(3, 31.4)
    return ResidualPolicy(encoder, ConditionProjection(*blocks), SIGMA, method, tensors)


@pytest.fixture(params=KINDS)
def saved(request, tmp_path: Path) -> tuple[Path, ResidualPolicy]:
    policy = make_policy(request.param)
    policy.save(tmp_path, {'note': 'random'})
    return tmp_path, policy


def answers(policy: ResidualPolicy) -> np.ndarray:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    prior = GraspParameters([0.4, 0.0, 0.1], [3.0, 0.1, 0.4], np.full(16, 0.4))
    return np.stack([policy.predict(image, prior, rng).to_vector() for _ in range(3)])


def test_a_loaded_policy_answers_as_the_saved_one(saved) -> None:
    directory, policy = saved
    loaded = load_policy(directory)
    assert loaded.method == policy.method
    np.testing.assert_array_equal(answers(loaded), answers(policy))
    first = (directory / WEIGHTS_FILE).read_bytes(), (directory / CONFIG_FILE).read_bytes()
    loaded.save(directory, {'note': 'random'})
    assert first == (
        (directory / WEIGHTS_FILE).read_bytes(),
        (directory / CONFIG_FILE).read_bytes(),
    )


def edit_config(directory: Path, change) -> None:
    config = json.loads((directory / CONFIG_FILE).read_text())
    change(config)
    (directory / CONFIG_FILE).write_text(json.dumps(config))


def edit_tensors(directory: Path, change) -> None:
    """Change tensors and make the checksum fit, as somebody who wants to would."""
    tensors = safetensors.numpy.load_file(directory / WEIGHTS_FILE)
    change(tensors)
    data = safetensors.numpy.save(tensors)
    (directory / WEIGHTS_FILE).write_bytes(data)
    checksum = hashlib.sha256(data).hexdigest()
    edit_config(directory, lambda c: c.update(weights_sha256=checksum))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.update(schema_version=1), 'train the policy again'),
        (lambda c: c.update(schema_version=3), 'schema version'),
        (lambda c: c.update(kind='pickle'), 'unknown kind'),
        (lambda c: c.update(kind=['mlp']), 'unknown kind'),
        (lambda c: c.update(surprise=1), 'exactly the keys'),
        (lambda c: c.pop('settings'), 'exactly the keys'),
        (lambda c: c.update(encoder='r3m'), 'encoder'),
        (lambda c: c.update(encoder_weights_sha256='0' * 64), 'other weights'),
        (lambda c: c.update(settings=None), 'cannot be used'),
        (lambda c: c.update(settings={'surprise': 1}), 'surprise'),
        (lambda c: c.update(image_components=10**9), 'component'),
        (lambda c: c.update(image_components=True), 'component'),
        (lambda c: c.update(image_components=1), 'shape'),
        (lambda c: c.update(weights_sha256='0' * 64), 'checksum'),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved, change, message: str) -> None:
    directory, _ = saved
    edit_config(directory, change)
    with pytest.raises(TrainingError, match=message):
        load_policy(directory)


def test_tensors_that_do_not_fit_are_refused(saved) -> None:
    directory, _ = saved
    weights, config = ((directory / n).read_bytes() for n in (WEIGHTS_FILE, CONFIG_FILE))
    names = sorted(safetensors.numpy.load(weights))
    model = next(n for n in names if n.startswith('model.'))

    def to_single(tensors: dict) -> None:
        tensors[model] = tensors[model].astype(np.float32)

    for change, message in (
        (lambda t: t.pop(model), 'misses'),
        (lambda t: t.update(surprise=np.ones(1)), 'surprise'),
        (to_single, 'float32'),
        (lambda t: t.update({model: t[model][..., :-1]}), 'shape'),
        (lambda t: t.update({model: t[model] * np.inf}), 'not finite'),
        (lambda t: t.update(sigma=-t['sigma']), 'sigma'),
    ):
        (directory / WEIGHTS_FILE).write_bytes(weights)
        (directory / CONFIG_FILE).write_bytes(config)
        edit_tensors(directory, change)
        with pytest.raises(TrainingError, match=message):
            load_policy(directory)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from([WEIGHTS_FILE, CONFIG_FILE]), data=st.data())
def test_damaged_files_are_refused_and_nothing_else_is_raised(tmp_path: Path, name, data) -> None:
    make_policy('mlp').save(tmp_path, {})
    content = bytearray((tmp_path / name).read_bytes())
    kind = data.draw(st.sampled_from(['cut', 'flip', 'noise']))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == 'cut':
        content = content[:place]
    elif kind == 'flip':
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = bytearray(data.draw(st.binary(max_size=64)))
    (tmp_path / name).write_bytes(bytes(content))
    try:
        load_policy(tmp_path)
    except TrainingError:
        return
    # A flipped bit in white space or in a word of `details` changes nothing that is used.
    assert name == CONFIG_FILE


def test_a_missing_or_oversized_file_is_refused(saved) -> None:
    directory, _ = saved
    with (directory / CONFIG_FILE).open('ab') as stream:
        stream.write(b' ' * 1_100_000)
    with pytest.raises(TrainingError, match='larger than 1 MB'):
        load_policy(directory)
    (directory / CONFIG_FILE).unlink()
    with pytest.raises(TrainingError, match='cannot read'):
        load_policy(directory)
    load_again = make_policy('elite_mean')
    load_again.save(directory, {})
    (directory / WEIGHTS_FILE).unlink()
    with pytest.raises(TrainingError, match='cannot read'):
        load_policy(directory)
    with pytest.raises(TrainingError, match='cannot write'):
        load_again.save(directory / CONFIG_FILE, {})


def test_weights_of_the_encoder_must_be_those_of_the_training(saved, monkeypatch) -> None:
    directory, _ = saved
    monkeypatch.setenv('DEFT_WEIGHTS', str(directory / 'none'))
    edit_config(directory, lambda c: c.update(encoder='r3m_resnet18'))
    with pytest.raises(TrainingError, match=r'r3m_resnet18\.pt .* is missing'):
        load_policy(directory)
