# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import io
import re
from collections import Counter
from dataclasses import replace
from functools import partial as partial_call
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from deft_core.episode import Outcome, Phase, VideoFrame
from deft_core.errors import RecordingError
from deft_report import figures
from deft_report import page as report
from deft_report import run as runs
from deft_report.commands import report as command
from deft_report.findings import find
from deft_report.page import best_and_worst, turning_points

VOID = {'meta', 'img', 'source', 'br', 'link', 'input'}


class Page(HTMLParser):
    """Tags, identifiers, text and balance of an HTML page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.identifiers, self.sources = Counter(), [], []
        self.text, self.open, self.unbalanced = '', [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1
        for name, value in attributes:
            if name == 'id':
                self.identifiers.append(value)
            if name in ('src', 'srcset', 'href', 'xlink:href'):
                self.sources.append(value)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(name='written', scope='module')
def _written(full, tmp_path_factory):
    folder = tmp_path_factory.mktemp('full')
    return report.write_report(full, folder)


@pytest.fixture(name='page', scope='module')
def _page(written):
    return Page(written.read_text(encoding='utf-8'))


def test_the_page_is_well_formed(page):
    assert page.unbalanced == []
    assert page.open == []
    assert len(page.identifiers) == len(set(page.identifiers))


def test_the_page_needs_nothing_but_itself(page, written):
    assert page.tags['script'] == page.tags['link'] == page.tags['iframe'] == 0
    assert all(source.startswith(('data:image/', '#')) for source in page.sources)
    # SVG name spaces are names, not addresses that anything fetches.
    assert not re.search(r'(@import|url\(\s*["\']?http)', written.read_text(encoding='utf-8'))
    assert "default-src 'none'" in written.read_text(encoding='utf-8')


def test_the_page_shows_the_numbers(page, full):
    findings = find(full)
    for group in findings.groups:
        assert f'{group.rate.successes}/{group.rate.trials}' in page.text
    for verdict in findings.verdicts:
        assert verdict.detail in page.text
    assert 'Pick cup' in page.text
    assert '7 min 11 s' in page.text
    assert 'mujoco 4.0.0' in page.text
    assert 'Residual vae was asked for.' in page.text
    assert 'Trained on the 10 best of 30 practice episodes' in page.text
    assert 'residual vae0.500-0.04deployed' in page.text
    # One row per episode, one for the only policy, and the heads of both tables.
    assert page.tags['tr'] == len(full.episodes) + 1 + 2


def test_the_page_knows_light_and_dark(written):
    text = written.read_text(encoding='utf-8')
    assert 'prefers-color-scheme: dark' in text
    charts = ''.join(re.findall(r'<svg.*?</svg>', text, re.DOTALL))
    assert charts
    assert not re.search(r'#[0-9a-f]{6}', charts)
    used = set(re.findall(r'var\((--[a-z-]+)\)', text))
    defined = set(re.findall(r'(--[a-z-]+):', text))
    assert used <= defined


def test_the_pictures_for_other_documents(written):
    folder = written.parent / 'figures'
    names = {path.name for path in folder.iterdir()}
    assert names == {
        'learning_curve.png', 'residual_mean.png',
        'rollout_best.webp', 'rollout_worst.webp',
    }  # fmt: skip
    assert Image.open(folder / 'learning_curve.png').width > 1900
    assert Image.open(folder / 'rollout_best.webp').is_animated


def test_building_twice_gives_the_same_page(partial):
    assert report.render(partial, 'deft report') == report.render(partial, 'deft report')


def test_a_partial_session_is_reported(partial):
    page = Page(report.render(partial, 'deft report'))
    assert page.text.count('not run') >= 3
    assert 'stops after 7 practice episodes' in page.text
    assert 'What these numbers allow to say' not in page.text


def test_one_unjudged_episode_without_rollout_video_is_enough(partial, tmp_path):
    only = replace(
        partial.episodes[0], reward=None, success=None, rollout_video=(), reward_source='',
        outcome=Outcome.UNREACHABLE, scene_seed=-1,
    )  # fmt: skip
    page = Page(
        report.write_report(replace(partial, episodes=(only,)), tmp_path).read_text('utf-8')
    )
    assert 'not judged' in page.text
    assert 'not reachable' in page.text
    assert 'by hand' in page.text
    assert not list((tmp_path / 'figures').glob('rollout*'))


def test_evaluation_without_practice_is_reported(full):
    kept = tuple(episode for episode in full.episodes if episode not in full.practice)
    page = Page(report.render(replace(full, episodes=kept), 'deft report'))
    assert 'This session has 0 practice episodes' in page.text
    assert 'What was learned' not in page.text


def test_names_from_the_bag_cannot_inject_markup(partial):
    hostile = '<script>alert(1)</script>"$x$'
    episodes = tuple(
        replace(episode, object_name=hostile, reward_source=hostile, task=hostile)
        for episode in partial.episodes
    )
    page = Page(report.render(replace(partial, episodes=episodes), 'deft report'))
    assert page.tags['script'] == 0
    assert hostile in page.text


def test_a_damaged_rollout_video_is_told_and_does_not_hide_the_rest(partial):
    index = best_and_worst(partial)[0].episode.index
    broken = replace(
        partial.episodes[index],
        rollout_video=(
            *partial.episodes[index].rollout_video,
            VideoFrame(stamp=200.0, jpeg=b'\xff\xd8half'),
        ),
    )
    episodes = (*partial.episodes[:index], broken, *partial.episodes[index + 1 :])
    text = report.render(replace(partial, episodes=episodes), 'deft report')
    assert 'cannot be decoded, left out: 1' in text


def test_best_is_the_latest_of_equals_and_worst_the_earliest(partial):
    level = replace(
        partial, episodes=tuple(replace(episode, reward=0.5) for episode in partial.episodes)
    )
    assert [rollout.episode.index for rollout in best_and_worst(level)] == [6, 0]
    single = replace(level, episodes=level.episodes[:1])
    assert [rollout.key for rollout in best_and_worst(single)] == ['best']


def test_an_episode_that_never_moved_is_not_the_worst(partial):
    still = replace(
        partial.episodes[0], reward=0.0, rollout_video=partial.episodes[0].rollout_video[:1]
    )
    episodes = (still, *partial.episodes[1:])
    chosen = best_and_worst(replace(partial, episodes=episodes))
    moved = min(partial.episodes[1:], key=lambda episode: episode.reward)
    assert {rollout.key: rollout.episode.index for rollout in chosen}['worst'] == moved.index
    motionless = tuple(
        replace(episode, rollout_video=episode.rollout_video[:1]) for episode in partial.episodes
    )
    without_video = replace(partial, episodes=motionless)
    assert best_and_worst(without_video) == []
    assert 'worst episode' not in report.render(without_video, 'deft report')


def test_the_evaluation_is_shown_by_its_median_on_one_scene(full):
    shown = dict(turning_points(full))
    policy, prior = shown['Policy, median trial'], shown['Prior alone, same scene']
    assert policy.scene_seed == prior.scene_seed
    better = sum(e.reward > policy.reward for e in full.phase(Phase.EVALUATE_POLICY))
    assert better in (4, 5)


@pytest.mark.parametrize(
    'policy',
    [
        {},
        {'kind': 'mlp'},
        {'kind': 'mlp', 'details': None},
        {'kind': 'mlp', 'details': {'candidates': 'none', 'reason': 3, 'elite_episodes': 7}},
        {'kind': 'mlp', 'details': {'candidates': [1, {}, {'kind': 'mlp', 'failure': 'no'}]}},
    ],
)
def test_a_policy_file_that_says_less_makes_a_shorter_page(policy, partial):
    text = report.render(replace(partial, policy=policy), 'deft report')
    assert ('Which policy' in text) == bool(policy)
    assert 'Which policy' not in report.render(partial, 'deft report')


def test_a_chart_becomes_svg_and_png(full):
    draw = partial_call(figures.learning_curve, full, find(full))
    root = ElementTree.fromstring(figures.to_svg(draw, 'rewards'))
    assert root.tag.endswith('svg')
    assert 'width' not in root.attrib
    assert 'viewBox' in root.attrib
    assert 'fine-tuning' in ''.join(root.itertext())
    assert Image.open(io.BytesIO(figures.to_png(draw))).size[0] == 2040


@pytest.fixture(name='run')
def _run(full, records, tmp_path):
    """A run folder as a session leaves it that was stopped after nine episodes."""
    records.write_bag(tmp_path / 'bag', full.episodes[:9])
    (tmp_path / 'summary.json').write_text('{"wall_s": 59.6, "seed": 12}')
    return tmp_path


def test_the_command_reports_a_run_folder(run, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.main(parser.parse_args([str(run)])) == 0
    assert 'report.html' in capsys.readouterr().out
    page = Page((run / 'report.html').read_text(encoding='utf-8'))
    assert page.tags['tr'] == 10
    assert '1 min 00 s' in page.text
    # Folders above the run are nobody's business.
    assert str(run.parent) not in page.text


def test_what_is_read_from_the_bag_is_what_was_recorded(run, full):
    record = runs.load_run(run)
    assert record.damaged == ()
    for read, original in zip(record.episodes, full.episodes[:9], strict=True):
        assert read.reward == original.reward
        assert np.array_equal(read.last_image, original.last_image)
        assert read.rollout_video[-1].jpeg == original.rollout_video[-1].jpeg


def test_a_bag_with_a_file_that_ends_early_is_reported_without_it(full, records, tmp_path):
    records.write_bag(tmp_path / 'bag', full.episodes[:3])
    file = tmp_path / 'bag' / 'episode_0002.mcap'
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    record = runs.load_run(tmp_path)
    assert len(record.episodes) == 2
    assert 'episode_0002.mcap ends early' in report.render(record, 'deft report')


def test_a_run_takes_no_more_memory_than_its_page_needs(records, tmp_path, monkeypatch):
    large = np.zeros((960, 1280, 3), np.uint8)
    episodes = [
        records.make_episode(i, first_image=large, last_image=large[:480, :240]) for i in range(3)
    ]
    records.write_bag(tmp_path / 'bag', episodes)
    monkeypatch.setattr(runs, 'MOST_VIDEO', 2 * len(episodes[0].rollout_video[0].jpeg))
    record = runs.load_run(tmp_path)
    for episode in record.episodes:
        assert episode.first_image.shape == (240, 320, 3)
        assert episode.last_image.shape == (480, 240, 3)
    assert [len(episode.rollout_video) for episode in record.episodes] == [1, 1, 0]
    assert record.damaged == (
        'Episodes without their video: 1; all videos together are larger than 0 MB.',
    )


@pytest.mark.parametrize(
    ('last', 'ticks'),
    [
        (1, [1]),
        (7, list(range(1, 8))),
        (30, [1, *range(5, 31, 5)]),
        (240, [1, *range(15, 241, 15)]),
    ],
)
def test_the_axis_has_few_labels(last, ticks):
    axes = figures.new_figure(6, 3).add_subplot()
    figures.episode_axis(axes, last)
    assert list(axes.get_xticks()) == ticks


def test_a_missing_run_or_bag_is_one_sentence(tmp_path):
    with pytest.raises(RecordingError, match='no run folder'):
        report.build_report(tmp_path / 'nowhere')
    with pytest.raises(RecordingError, match='bag'):
        report.build_report(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(partial, tmp_path):
    (tmp_path / 'figures').write_text('in the way')
    with pytest.raises(RecordingError, match='Cannot write'):
        report.write_report(partial, tmp_path)
