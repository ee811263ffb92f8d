# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 from local files: which files are taken, which are refused, what comes out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from deft_bag.dataset import read_dataset
from deft_cem.encoders.registry import make_encoder
from deft_cem.policies.choice import PolicySettings
from deft_cem.policies.policy import load_policy
from deft_cem.policies.training import train_policy
from deft_cem.settings import LearningSettings
from deft_core.errors import ConfigurationError, InvalidInputError, TrainingError
from deft_core.pretrained import load_torchvision


@pytest.fixture(scope='module')
def network() -> torch.nn.Module:
    """ResNet-18 with small random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return load_torchvision().models.resnet18(weights=None).eval()


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def pin(path: Path) -> None:
    """Note the checksum as `sha256sum NAME >> SHA256SUMS` does."""
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    with (path.parent / 'SHA256SUMS').open('a') as stream:
        stream.write(f'{checksum}  {path.name}\n')


def write_r3m(directory: Path, network: torch.nn.Module) -> Path:
    """A file laid out as R3M publishes it."""
    state = {
        f'module.convnet.{name}': tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith('fc.')
    }
    state['module.lang_enc.model.embeddings'] = torch.ones(3)
    state['module.lang_rew.pred.0.weight'] = torch.ones(2, 2)
    path = directory / 'r3m_resnet18.pt'
    torch.save({'r3m': state, 'global_step': 5}, path)
    pin(path)
    return path


def test_features_are_those_of_the_network_before_its_classifier(
    network, image, tmp_path: Path
) -> None:
    path = tmp_path / 'resnet18-f37072fd.pth'
    torch.save(network.state_dict(), path)
    pin(path)
    encoder = make_encoder('resnet18', tmp_path)
    features = encoder.encode(image)
    assert (encoder.name, encoder.dimension) == ('resnet18', 512)
    assert encoder.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert features.dtype == np.float64
    assert features.shape == (512,)
    np.testing.assert_array_equal(features, encoder.encode(image.copy()))
    # The library's own route: preset, network, pooled features seen by the classifier.
    seen = []
    hook = network.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    preset = load_torchvision().models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    with torch.no_grad():
        network(preset(torch.tensor(image).permute(2, 0, 1))[None])
    hook.remove()
    np.testing.assert_allclose(features, seen[0][0].numpy(), rtol=1e-5)
    assert np.linalg.norm(encoder.encode(255 - image) - features) > 1e-3


def test_r3m_layout_gives_the_same_features_as_plain_names(network, image, tmp_path: Path) -> None:
    write_r3m(tmp_path, network)
    plain = {k: v.contiguous() for k, v in network.state_dict().items()}
    safetensors.torch.save_file(plain, tmp_path / 'resnet18.safetensors')
    pin(tmp_path / 'resnet18.safetensors')
    r3m, resnet = make_encoder('r3m_resnet18', tmp_path), make_encoder('resnet18', tmp_path)
    assert r3m.name == 'r3m_resnet18'
    np.testing.assert_array_equal(r3m.encode(image), resnet.encode(image))


def test_a_missing_file_is_explained_in_one_sentence(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_encoder('resnet18', tmp_path)
    for part in (
        'resnet18-f37072fd.pth', '46.8 MB', 'f37072fd47e8', 'https://download.pytorch.org',
        str(tmp_path), 'DEFT_WEIGHTS',
    ):  # fmt: skip
        assert part in str(caught.value)
    monkeypatch.setenv('DEFT_WEIGHTS', str(tmp_path / 'elsewhere'))
    with pytest.raises(ConfigurationError, match=r'r3m_resnet18\.pt .*elsewhere'):
        make_encoder('r3m_resnet18')
    monkeypatch.delenv('DEFT_WEIGHTS')
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'data'))
    with pytest.raises(ConfigurationError, match='data/deft/weights'):
        make_encoder('r3m_resnet18')


def test_another_or_an_unknown_checksum_is_refused(network, tmp_path: Path) -> None:
    path = tmp_path / 'resnet18-f37072fd.pth'
    torch.save(network.state_dict(), path)
    with pytest.raises(ConfigurationError, match='expected f37072fd47e8'):
        make_encoder('resnet18', tmp_path)
    write_r3m(tmp_path, network)
    (tmp_path / 'SHA256SUMS').unlink()
    with pytest.raises(ConfigurationError, match=r'sha256sum r3m_resnet18\.pt >> SHA256SUMS'):
        make_encoder('r3m_resnet18', tmp_path)
    (tmp_path / 'SHA256SUMS').write_text('not a checksum\n')
    with pytest.raises(ConfigurationError, match='line 1'):
        make_encoder('r3m_resnet18', tmp_path)


def tensors_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in network.state_dict().items() if not k.startswith('fc.')}


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda t: t.pop('conv1.weight'), 'conv1.weight'),
        (lambda t: t.update(extra=torch.ones(1)), 'unknown'),
        (lambda t: t.update({'bn1.bias': torch.ones(63)}), 'bn1.bias'),
        (lambda t: t.update({'bn1.bias': torch.full((64,), float('nan'))}), 'finite'),
        (lambda t: t.update({'bn1.bias': 'text'}), 'bn1.bias'),
    ],
)
def test_weights_of_another_network_are_refused(network, tmp_path, damage, message: str) -> None:
    tensors = tensors_of(network)
    damage(tensors)
    torch.save(tensors, tmp_path / 'r3m_resnet18.pt')
    pin(tmp_path / 'r3m_resnet18.pt')
    with pytest.raises(ConfigurationError, match=message):
        make_encoder('r3m_resnet18', tmp_path)


class RunsCode:
    """A pickle of it would create a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / 'trace'
    torch.save({'r3m': RunsCode(trace)}, tmp_path / 'r3m_resnet18.pt')
    pin(tmp_path / 'r3m_resnet18.pt')
    with pytest.raises(ConfigurationError, match='no plain tensors'):
        make_encoder('r3m_resnet18', tmp_path)
    assert not trace.exists()
    for content in (b'', b'nonsense'):
        (tmp_path / 'SHA256SUMS').unlink(missing_ok=True)
        for name in ('r3m_resnet18.pt', 'r3m_resnet18.safetensors'):
            (tmp_path / name).write_bytes(content)
            pin(tmp_path / name)
            with pytest.raises(ConfigurationError, match='no plain tensors'):
                make_encoder('r3m_resnet18', tmp_path)
            (tmp_path / name).unlink()


def test_a_policy_wants_the_encoder_weights_it_was_trained_with(
    network, records, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv('DEFT_WEIGHTS', str(tmp_path))
    path = write_r3m(tmp_path, network)
    episodes = [records.make_episode(i, reward=i / 6) for i in range(6)]
    records.write_bag(tmp_path / 'bag', episodes)
    settings = LearningSettings(
        elites=4, policy=PolicySettings(method='elite_mean', encoder='r3m_resnet18')
    )
    trained = train_policy(read_dataset([tmp_path])[0], tmp_path, settings, seed=0).policy
    loaded = load_policy(tmp_path)
    assert loaded.encoder.weights_sha256 == trained.encoder.weights_sha256
    image, prior = episodes[0].first_image, episodes[0].prior.grasp
    answers = [p.predict(image, prior, np.random.default_rng(0)) for p in (trained, loaded)]
    np.testing.assert_array_equal(answers[0].to_vector(), answers[1].to_vector())
    tensors = torch.load(path, weights_only=True)
    tensors['r3m']['module.convnet.conv1.weight'] += 0.1
    torch.save(tensors, path)
    (tmp_path / 'SHA256SUMS').unlink()
    pin(path)
    with pytest.raises(TrainingError, match='other weights'):
        load_policy(tmp_path)


def test_other_images_are_refused(network, tmp_path: Path) -> None:
    write_r3m(tmp_path, network)
    encoder = make_encoder('r3m_resnet18', tmp_path)
    with pytest.raises(InvalidInputError, match='image must'):
        encoder.encode(np.zeros((64, 64), dtype=np.uint8))
