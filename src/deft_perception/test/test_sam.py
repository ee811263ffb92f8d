# SPDX-License-Identifier: Apache-2.0
"""Segment Anything and CLIP: real modules at small size, and the choice of a mask."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from deft_core.camera import RgbdFrame
from deft_core.errors import ConfigurationError, InvalidInputError, NoObjectError
from deft_core.pretrained import VIT_B_32, ClipArchitecture, WeightsFile
from deft_perception.segment_anything.sam2 import MODELS, MaskProposal, Sam2Model, Sam2Predictor
from deft_perception.segment_anything.sam_segmentation import SamSegmentation
from deft_perception.segment_anything.text_ranking import TextRanker, load_text_ranker
from deft_perception.segmentation.plane_segmentation import PlaneSegmentation
from deft_perception.segmentation.quality import Flag, flags_of
from deft_perception.segmentation.segmenter import make_segmenter
from deft_perception.segmentation.settings import SegmentationSettings

TINY_SAM2 = Sam2Model(
    WeightsFile('tiny.pth', 'the test'),
    backbone={
        'hidden_size': 8, 'num_attention_heads': 1, 'blocks_per_stage': [1, 1, 2, 1],
        'embed_dim_per_stage': [8, 16, 32, 64], 'num_attention_heads_per_stage': [1, 1, 2, 2],
        'global_attention_blocks': [3],
    },
    vision={'backbone_channel_list': [64, 32, 16, 8]},
    width=32, decoder_width=32, image_size=64,
)  # fmt: skip
TINY_CLIP = ClipArchitecture(
    embed_dim=16,
    vision={'image_size': 32, 'layers': 1, 'width': 64, 'patch_size': 16, 'head_width': 32},
    text={'context_length': 16, 'vocab_size': 49408, 'width': 32, 'heads': 2, 'layers': 1},
)
SETTINGS = SegmentationSettings(grid_step=12)


@pytest.fixture(scope='module')
def tiny_sam2():
    torch.manual_seed(0)
    return TINY_SAM2.build()


@pytest.fixture
def masks(tiny_sam2):
    return Sam2Predictor(tiny_sam2, TINY_SAM2.image_size)


@pytest.fixture(scope='module')
def tiny_clip():
    torch.manual_seed(0)
    return TextRanker(TINY_CLIP, TINY_CLIP.build())


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_the_embedding_of_an_image_is_computed_once(masks, tiny_sam2, monkeypatch):
    calls = []
    encoder = tiny_sam2.vision_encoder
    encode = encoder.forward
    monkeypatch.setattr(
        encoder, 'forward', lambda x, **options: calls.append(x.shape) or encode(x, **options)
    )
    masks.set_image(picture())
    points = masks.at_points([[10, 20], [30, 40]])
    masks.set_image(picture())
    boxes = masks.in_boxes([[5, 5, 30, 40]])
    assert calls == [(1, 3, 64, 64)]
    masks.set_image(picture(1))
    assert len(calls) == 2
    assert len(points) == 6  # part, body and all, for each point
    assert len(boxes) == 1
    for proposal in (*points, *boxes):
        assert proposal.mask.shape == (48, 64)
        assert proposal.mask.dtype == np.bool_
        assert np.isfinite(proposal.score)


def test_other_prompts_give_other_masks_and_none_come_without_an_image(masks):
    with pytest.raises(InvalidInputError, match='Set an image'):
        masks.at_points([[1, 1]])
    masks.set_image(picture())
    first, again, other = (masks.at_points([at]) for at in ([10, 20], [10, 20], [55, 3]))
    assert [one.score for one in first] == [one.score for one in again]
    assert [one.score for one in first] != [one.score for one in other]


def stored(folder, name, network, **changes):
    """A checkpoint file of a network; returns what describes it."""
    tensors = {**network.state_dict(), **changes}
    torch.save({key: value for key, value in tensors.items() if value is not None}, folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return WeightsFile(name, 'the test', None, digest)


def test_weights_come_from_a_checked_file_also_of_the_video_model(tmp_path, tiny_sam2, masks):
    memory = {'memory_attention.layer.weight': torch.zeros(3)}
    model = replace(TINY_SAM2, file=stored(tmp_path, 'tiny.pth', tiny_sam2, **memory))
    loaded = model.load(tmp_path)
    for predictor in (loaded, masks):
        predictor.set_image(picture())
    assert np.array_equal(loaded.at_points([[9, 9]])[0].mask, masks.at_points([[9, 9]])[0].mask)
    other = replace(model, backbone={**model.backbone, 'num_attention_heads': 2, 'hidden_size': 4})
    with pytest.raises(ConfigurationError, match='must be finite numbers of shape'):
        other.load(tmp_path)
    (tmp_path / 'tiny.pth').write_bytes(b'something else')
    with pytest.raises(ConfigurationError, match='SHA-256'):
        model.load(tmp_path)


def test_broken_and_foreign_weights_are_refused(tmp_path, tiny_sam2):
    name = 'mask_decoder.iou_token.weight'
    nan = torch.full(tiny_sam2.state_dict()[name].shape, torch.nan)
    for changes, words in (
        ({name: nan}, f'{name} must be finite'),
        ({name: None}, f'first {name!r}'),
        ({'new_part': torch.zeros(3)}, "first 'new_part'"),
    ):
        file = stored(tmp_path, 'broken.pth', tiny_sam2, **changes)
        with pytest.raises(ConfigurationError, match=words):
            replace(TINY_SAM2, file=file).load(tmp_path)

    class Evil:
        def __reduce__(self):
            return (sys.exit, (1,))

    torch.save({'x': Evil()}, tmp_path / 'evil.pth')
    digest = hashlib.sha256((tmp_path / 'evil.pth').read_bytes()).hexdigest()
    with pytest.raises(ConfigurationError, match='no plain tensors'):
        replace(TINY_SAM2, file=WeightsFile('evil.pth', 'nowhere', None, digest)).load(tmp_path)


def test_the_full_architecture_is_that_of_the_library():
    with torch.device('meta'):  # shapes alone
        built = MODELS['hiera_tiny'].build()
        from transformers import Sam2Config
        from transformers import Sam2Model as Published

        reference = Published(Sam2Config())
    ours = {name: value.shape for name, value in built.state_dict().items()}
    theirs = {name: value.shape for name, value in reference.state_dict().items()}
    assert ours == theirs


def test_a_back_end_is_made_by_its_name_and_a_missing_file_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv('DEFT_WEIGHTS', str(tmp_path))
    assert isinstance(make_segmenter(SegmentationSettings()), PlaneSegmentation)
    for settings, words in (
        ({'backend': 'sam2'}, r'sam2\.1_hiera_tiny\.safetensors.*facebook/sam2\.1-hiera-tiny'),
        ({'backend': 'sam2', 'sam2_model': 'hiera_tin'}, "did you mean 'hiera_tiny'"),
        ({'backend': 'sam'}, "did you mean 'sam2'"),
        ({'backend': 'sam2', 'read_instruction': True}, VIT_B_32.files[0].name),
        ({'read_instruction': True}, 'cannot read an instruction'),
    ):
        with pytest.raises(ConfigurationError, match=words):
            make_segmenter(SegmentationSettings(**settings))


def test_probabilities_sum_to_one_and_depend_on_the_sentence(tiny_clip):
    color = picture()
    masks = [np.zeros((48, 64), dtype=bool) for _ in range(3)]
    for index, mask in enumerate(masks):
        mask[5:40, 5 + 18 * index : 20 + 18 * index] = True
    first = tiny_clip.probabilities(color, masks, 'pick up the red cup')
    second = tiny_clip.probabilities(color, masks, 'stir with the spoon')
    assert first.shape == (3,)
    assert first.sum() == pytest.approx(1.0)
    assert np.abs(first - second).max() > 1e-9
    with pytest.raises(InvalidInputError, match='a sentence and a mask'):
        tiny_clip.probabilities(color, masks, '  ')
    with pytest.raises(InvalidInputError, match='empty mask'):
        tiny_clip.probabilities(color, [np.zeros((48, 64), dtype=bool)], 'x')


def test_a_text_model_is_loaded_without_its_buffers(tmp_path, tiny_clip):
    network = TINY_CLIP.build()
    file = stored(tmp_path, 'clip.pth', network, attn_mask=None)
    ranker = load_text_ranker(tmp_path, replace(TINY_CLIP, files=(file,)))
    mask = np.ones((48, 64), dtype=bool)
    assert ranker.probabilities(picture(), [mask], 'a cup') == pytest.approx([1.0])


class TrueMasks:
    """Stands in for Segment Anything: knows the outlines of the bodies and of the table."""

    def __init__(self, scene):
        self.images = []
        points = scene.camera.deproject(scene.render().depth)
        world = points @ scene.pose[:3, :3].T + scene.pose[:3, 3]
        self.outlines = []
        for body in scene.bodies:
            near = np.hypot(world[..., 0] - body.x, world[..., 1] - body.y) < 0.06
            self.outlines.append(near & (world[..., 2] > 0.004))
        self.table = np.abs(world[..., 2]) < 0.004

    def set_image(self, color):
        self.images.append(color)

    def at_points(self, points):
        found = []
        for column, row in np.asarray(points, dtype=int):
            masks = [outline for outline in self.outlines if outline[row, column]]
            found += [MaskProposal(mask, 0.9) for mask in masks]
            found.append(MaskProposal(self.table, 0.99))  # a good mask of the wrong thing
        return found

    def in_boxes(self, boxes):
        found = []
        for x0, y0, x1, y1 in np.asarray(boxes):
            inside = [np.count_nonzero(o[y0:y1, x0:x1]) / o.sum() for o in self.outlines]
            found.append(MaskProposal(self.outlines[int(np.argmax(inside))], 0.95))
        return found


class Reader:
    """Stands in for CLIP: the sentence names the number of a body."""

    def __init__(self, outlines):
        self.outlines = outlines

    def probabilities(self, color, masks, instruction):
        wanted = self.outlines[int(instruction)]
        hits = np.array([np.count_nonzero(mask & wanted) for mask in masks], dtype=float)
        return hits / hits.sum()


@pytest.fixture
def two(scene, box):
    return scene(
        bodies=(box(0.45, 0.10, (0.07, 0.07, 0.06)), box(0.56, -0.10, (0.05, 0.05, 0.05))),
        noise=0.0008,
    )


def segment(scene, masks, ranker=None, **request):
    segmentation = SamSegmentation(SETTINGS, masks, ranker)
    return segmentation.segment(
        scene.render(), scene.pose, np.random.default_rng(0), calibration_id='cell', **request
    )


def near(observation, body):
    return np.hypot(observation.centre[0] - body.x, observation.centre[1] - body.y) < 0.01


def test_the_most_prominent_body_is_taken_where_nobody_says_more(two):
    masks = TrueMasks(two)
    found = segment(two, masks)
    assert near(found, two.bodies[0])
    assert found.calibration_id == 'cell'
    assert found.quality['mask_score'] == 0.95
    assert len(masks.images) == 1
    assert flags_of(found) == (Flag.NO_CLEAR_CHOICE,)  # the other one is nearly as large


def test_a_click_chooses_and_the_table_is_never_the_object(two):
    found = segment(two, TrueMasks(two), click=two.pixel(0.56, -0.10, 0.05))
    assert near(found, two.bodies[1])
    assert flags_of(found) == ()
    with pytest.raises(NoObjectError, match='at the click'):
        segment(two, TrueMasks(two), click=two.pixel(0.40, -0.15, 0.0))
    with pytest.raises(InvalidInputError, match='outside the image'):
        segment(two, TrueMasks(two), click=(-1, 5))


@pytest.mark.parametrize('wanted', [0, 1])
def test_the_sentence_chooses_where_it_is_read(two, wanted):
    masks = TrueMasks(two)
    found = segment(two, masks, Reader(masks.outlines), instruction=str(wanted))
    assert near(found, two.bodies[wanted])
    assert found.quality['text_probability'] > 0.9
    unread = segment(two, masks, None, instruction=str(wanted))
    assert near(unread, two.bodies[0])


def test_colour_gives_the_outline_where_depth_is_missing(two):
    masks = TrueMasks(two)
    frame = two.render()
    depth = frame.depth.copy()
    lost = masks.outlines[0] & (np.arange(320) < np.nonzero(masks.outlines[0])[1].mean())[None]
    depth[lost] = np.nan
    half = RgbdFrame(frame.stamp, frame.color, depth, frame.intrinsics)
    found = SamSegmentation(SETTINGS, masks, None).segment(
        half, two.pose, np.random.default_rng(0), click=two.pixel(0.45, 0.10, 0.06)
    )
    assert np.mean(found.mask[masks.outlines[0]]) > 0.95
    assert found.quality['depth_coverage'] < 0.7
    assert np.all(np.isnan(found.depth[lost]))


def test_an_empty_table_and_bad_masks_are_refused(two, scene):
    with pytest.raises(NoObjectError, match='Nothing stands on the table'):
        segment(scene(noise=0.0008), TrueMasks(two))
    strict = SamSegmentation(
        SegmentationSettings(least_mask_score=0.99, grid_step=12), TrueMasks(two), None
    )
    with pytest.raises(NoObjectError, match='none was both rated'):
        strict.segment(two.render(), two.pose, np.random.default_rng(0))


def test_the_whole_chain_runs_with_real_modules(two, masks, tiny_clip):
    """Random weights make random masks: an observation or a typed refusal, and nothing else."""
    segmentation = SamSegmentation(
        SegmentationSettings(grid_step=12, least_mask_score=0.0, least_above_table=0.0),
        masks,
        tiny_clip,
    )
    reached = []
    with contextlib.suppress(NoObjectError):
        found = segmentation.segment(
            two.render(), two.pose, np.random.default_rng(0), instruction='pick up the cup'
        )
        reached.append(found.quality['text_probability'])
    assert all(0.0 < probability <= 1.0 for probability in reached)
    assert len(masks.at_points([[1, 1]])) == 3  # the image was set
