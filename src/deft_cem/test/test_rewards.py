# SPDX-License-Identifier: Apache-2.0
"""Visual rewards: the mapping, its anchors, CLIP weights, agreement with a person."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deft_cem.commands import score as command
from deft_cem.encoders.pretrained import OpenClipEncoder
from deft_cem.encoders.registry import ENCODERS, make_encoder
from deft_cem.rewards.agreement import agreement
from deft_cem.rewards.visual import (
    SOURCES,
    GoalDistance,
    RewardSource,
    Score,
    VisualReward,
    default_paths,
    load_image,
)
from deft_core.configuration import config_directory
from deft_core.episode import Phase
from deft_core.errors import ConfigurationError, InvalidInputError, RecordingError
from deft_core.pretrained import VIT_B_32, ClipArchitecture, WeightsFile, load_torchvision


class MeanColor:
    """Encoder of the tests: the mean colour, so that distances can be worked out by hand."""

    name = 'mean_color'
    weights_sha256 = None
    dimension = 3

    def encode(self, image):
        return image.reshape(-1, 3).mean(axis=0)


def grey(value: int) -> np.ndarray:
    return np.full((16, 16, 3), value, dtype=np.uint8)


@pytest.fixture(scope='module')
def goal() -> GoalDistance:
    """Goal at grey 200, start at grey 100: a span of 100 grey levels in each channel."""
    return GoalDistance(MeanColor(), grey(200), grey(100))


def test_the_anchors_score_one_and_zero_and_halfway_is_a_half(goal) -> None:
    values = [goal.score(goal.distance(grey(v))) for v in (200, 150, 100)]
    assert values == pytest.approx([1.0, 0.5, 0.0])
    assert goal.distance(grey(150)) == pytest.approx(50 * np.sqrt(3))
    # Farther than the start is no worse than having achieved nothing.
    assert goal.score(goal.distance(grey(0))) == 0.0


@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=20))
def test_a_score_never_rises_with_the_distance(goal, distances) -> None:
    scores = [goal.score(distance) for distance in sorted(distances)]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_a_reward_says_where_it_comes_from_and_judges_no_success(goal) -> None:
    score = VisualReward(goal, RewardSource.RESNET18).score(grey(150))
    assert score.value == pytest.approx(0.5)
    assert (score.success, score.source) == (None, RewardSource.RESNET18)
    assert '86.6' in score.comment
    for value in (float('nan'), -0.1, 1.1):
        with pytest.raises(InvalidInputError, match='0 to 1'):
            Score(value, None, RewardSource.R3M)


def test_anchors_that_look_alike_are_refused() -> None:
    with pytest.raises(ConfigurationError, match='look the same to mean_color'):
        GoalDistance(MeanColor(), grey(7), grey(7))


def test_sources_are_those_of_the_message() -> None:
    reward = pytest.importorskip('deft_msgs.msg').Reward
    for source in RewardSource:
        assert getattr(reward, f'SOURCE_{source.name}') == source.value


def test_images_are_read_and_anything_else_is_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(load_image(tmp_path / 'a.png'), pixels)
    Image.fromarray(pixels).save(tmp_path / 'a.bmp')
    (tmp_path / 'b.png').write_bytes((tmp_path / 'a.png').read_bytes()[:100])
    for name in ('a.bmp', 'b.png'):
        with pytest.raises(ConfigurationError, match='no readable JPEG or PNG'):
            load_image(tmp_path / name)
    Image.new('RGB', (9000, 20)).save(tmp_path / 'wide.png')
    with pytest.raises(ConfigurationError, match='9000'):
        load_image(tmp_path / 'wide.png')
    with pytest.raises(ConfigurationError, match='last picture of a demonstration'):
        load_image(tmp_path / 'nowhere.jpg')


def test_the_simulated_task_has_its_anchors() -> None:
    encoder = make_encoder('gradient_color_1')
    goal_path, start_path = default_paths('pick_cup', config_directory())
    goal = GoalDistance(encoder, load_image(goal_path), load_image(start_path))
    assert goal.span > 1.0
    assert goal_path.stat().st_size < 100_000


# CLIP: a real model of open_clip, but tiny and with random weights.
TINY = ClipArchitecture(
    embed_dim=16,
    vision={'image_size': 32, 'layers': 2, 'width': 32, 'head_width': 16, 'patch_size': 16},
    text={'context_length': 5, 'vocab_size': 11, 'width': 8, 'heads': 1, 'layers': 1},
    files=(WeightsFile('tiny.pt', 'this test', 123), WeightsFile('tiny.safetensors', 'this test')),
)


@pytest.fixture(scope='module')
def clip() -> torch.nn.Module:
    """The whole model that TINY is the image tower of."""
    load_torchvision()
    import open_clip

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return open_clip.CLIP(
            TINY.embed_dim,
            dict(TINY.vision),
            dict(TINY.text),
        ).eval()


def save(folder: Path, state: object, name: str = 'tiny.pt') -> None:
    path = folder / name
    if name.endswith('.pt'):
        torch.save(state, path)
    else:
        import safetensors.torch

        safetensors.torch.save_file(state, path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / 'SHA256SUMS').write_text(f'{checksum}  {name}\n')


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_clip_embeddings_are_those_of_open_clip(clip, picture, tmp_path: Path) -> None:
    import open_clip

    save(
        tmp_path,
        {'epoch': 3, 'state_dict': {f'module.{k}': v for k, v in clip.state_dict().items()}},
    )
    encoder = OpenClipEncoder('tiny', TINY, tmp_path)
    found = encoder.encode(picture)
    preset = open_clip.image_transform(32, is_train=False)
    with torch.no_grad():
        expected = clip.encode_image(preset(Image.fromarray(picture))[None], normalize=True)[0]
    np.testing.assert_allclose(found, expected.double().numpy(), atol=1e-6)
    assert np.linalg.norm(found) == pytest.approx(1.0)
    assert (found.shape, encoder.dimension) == ((16,), 16)
    assert (
        encoder.weights_sha256 == hashlib.sha256((tmp_path / 'tiny.pt').read_bytes()).hexdigest()
    )
    assert np.linalg.norm(found - encoder.encode(255 - picture)) > 1e-3
    goal = GoalDistance(encoder, picture, 255 - picture)
    assert goal.score(goal.distance(picture)) == 1.0


def test_clip_weights_may_be_safetensors_of_half_precision(clip, picture, tmp_path) -> None:
    whole = {k: v.contiguous() for k, v in clip.state_dict().items()}
    save(tmp_path, whole, 'tiny.safetensors')
    exact = OpenClipEncoder('tiny', TINY, tmp_path).encode(picture)
    half = {k: v.half() if v.is_floating_point() else v for k, v in whole.items()}
    save(tmp_path, half, 'tiny.safetensors')
    rough = OpenClipEncoder('tiny', TINY, tmp_path).encode(picture)
    assert 0.0 < np.linalg.norm(exact - rough) < 0.01


def test_clip_weights_that_are_missing_or_of_another_model_are_refused(clip, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r'tiny\.pt .*this test'):
        OpenClipEncoder('tiny', TINY, tmp_path)
    save(tmp_path, clip.state_dict())
    larger = replace(TINY, vision={**TINY.vision, 'layers': 3})
    with pytest.raises(ConfigurationError, match='is not this CLIP model: 12 tensors'):
        OpenClipEncoder('tiny', larger, tmp_path)
    wider = replace(TINY, embed_dim=17)
    with pytest.raises(ConfigurationError, match='proj must be finite numbers of shape'):
        OpenClipEncoder('tiny', wider, tmp_path)
    (tmp_path / 'tiny.pt').write_bytes(b'another file')
    with pytest.raises(ConfigurationError, match='SHA-256'):
        OpenClipEncoder('tiny', TINY, tmp_path)


def test_the_shipped_architecture_is_that_of_open_clip(tmp_path: Path, monkeypatch) -> None:
    load_torchvision()
    import open_clip

    published = open_clip.get_model_config('ViT-B-32')
    assert published['embed_dim'] == VIT_B_32.embed_dim
    assert published['vision_cfg'] == VIT_B_32.vision
    monkeypatch.setenv('DEFT_WEIGHTS', str(tmp_path))
    with pytest.raises(ConfigurationError, match=r'open_clip_vit_b_32\.safetensors .*605 MB'):
        make_encoder('open_clip_vit_b_32')
    with pytest.raises(InvalidInputError, match='open_clip_vit_b_32'):
        make_encoder('open_clip_vit_b32')
    assert set(SOURCES) < set(ENCODERS)


def test_agreement_is_that_of_the_order() -> None:
    rng = np.random.default_rng(0)
    given_rewards = rng.uniform(size=30)
    same = agreement(np.exp(given_rewards), given_rewards, np.random.default_rng(0))
    assert same.interval[0] == pytest.approx(1.0)
    assert same.best_mean == pytest.approx(same.ideal_mean)
    assert same.best_mean > same.all_mean
    opposite = agreement(-given_rewards, given_rewards, np.random.default_rng(0))
    assert opposite.correlation == pytest.approx(-1.0)
    assert opposite.best_mean < opposite.all_mean
    noise = agreement(rng.uniform(size=30), given_rewards, np.random.default_rng(0))
    assert noise.interval[0] < 0.0 < noise.interval[1]
    with pytest.raises(InvalidInputError, match='at least 5'):
        agreement([1.0], [1.0], np.random.default_rng(0))
    with pytest.raises(InvalidInputError, match='given rewards are 1'):
        agreement(rng.uniform(size=6), np.ones(6), np.random.default_rng(0))


@pytest.fixture
def scored(records, tmp_path: Path) -> Path:
    """A run whose last images turn from the start image to the goal image with the reward."""
    start = np.zeros((48, 64, 3), dtype=np.uint8)
    goal = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(start).save(tmp_path / 'start.png')
    Image.fromarray(goal).save(tmp_path / 'goal.png')
    episodes = [
        records.make_episode(
            i,
            reward=i / 7,
            last_image=(goal * (i / 7)).astype(np.uint8),
            phase=Phase.WARM_UP if i < 6 else Phase.EVALUATE_POLICY,
        )
        for i in range(8)
    ]
    episodes.append(records.make_episode(8, reward=0.0, reward_source='outcome'))
    records.write_bag(tmp_path / 'bag', episodes)
    return tmp_path


def run_score(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def test_the_command_compares_orders(scored: Path, capsys) -> None:
    anchors = ('--goal', scored / 'goal.png', '--start', scored / 'start.png')
    assert run_score(scored, *anchors) == 0
    output = capsys.readouterr().out
    # Episodes that nobody looked at are left out, and two trials are too few for a line.
    assert 'practice        6  +1.00 (+1.00 to +1.00)' in output
    assert 'all             8  +1.00' in output
    assert 'evaluation' not in output
    assert 'from 0.00 to 1.00; 1 at 0' in output


def test_the_command_refuses_in_one_sentence(scored: Path, records, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='nowhere'):
        run_score(scored, '--goal', tmp_path / 'nowhere.png')
    with pytest.raises(ConfigurationError, match=r'r3m_resnet18\.pt'):
        run_score(scored, '--encoder', 'r3m_resnet18', '--weights', tmp_path)
    few = tmp_path / 'few'
    records.write_bag(few / 'bag', [records.make_episode(0)])
    with pytest.raises(RecordingError, match='at least 5'):
        run_score(few)
    mixed = tmp_path / 'mixed'
    tasks = ['pick_cup', *['pour_cup'] * 5]
    records.write_bag(
        mixed / 'bag', [records.make_episode(i, task=task) for i, task in enumerate(tasks)]
    )
    with pytest.raises(ConfigurationError, match='mixes tasks'):
        run_score(mixed)
