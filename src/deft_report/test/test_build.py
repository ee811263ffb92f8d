# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import io
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from deft_cem.bag_reader import EPISODE_TOPIC, EPISODE_TYPE
from deft_cem.bag_writer import BagWriter
from deft_core.episode import FilmFrame, Outcome, Phase
from deft_core.errors import RecordingError
from deft_report import build, charts, figures
from deft_report.commands import report as command
from deft_report.contents import best_and_worst, rows, turning_points
from deft_report.findings import find

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
    return build.write_report(full, folder)


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
    assert 'Trained on the 10 best of 30 practice episodes.' in page.text
    assert 'residual vae--0.04deployed' in page.text
    # One row per episode, one for the only policy, and the heads of both tables.
    assert page.tags['tr'] == len(full.episodes) + 1 + 2


def test_the_page_knows_light_and_dark_and_hides_no_marker_colour(written):
    text = written.read_text(encoding='utf-8')
    assert 'prefers-color-scheme: dark' in text
    assert '0fee' not in text
    used = set(re.findall(r'var\((--[a-z-]+)\)', text))
    defined = set(re.findall(r'(--[a-z-]+):', text))
    assert used <= defined


def test_the_pictures_for_other_documents(written):
    folder = written.parent / 'figures'
    names = {path.name for path in folder.iterdir()}
    assert names == {
        'learning_curve.png', 'success_rates.png', 'sampling_spread.png', 'residual_mean.png',
        'film_best.webp', 'film_worst.webp', 'filmstrip_best.png', 'filmstrip_worst.png',
    }  # fmt: skip
    assert Image.open(folder / 'learning_curve.png').width > 1900
    assert Image.open(folder / 'film_best.webp').is_animated


def test_building_twice_gives_the_same_page(partial):
    assert build.render(partial, 'deft report') == build.render(partial, 'deft report')


def test_a_partial_session_is_reported(partial):
    page = Page(build.render(partial, 'deft report'))
    assert page.text.count('not run') >= 3
    assert 'stops after 7 practice episodes' in page.text
    assert 'What these numbers allow to say' not in page.text


def test_one_unjudged_episode_without_film_is_enough(partial, tmp_path):
    only = replace(
        partial.episodes[0], reward=None, success=None, film=(), reward_source='',
        outcome=Outcome.UNREACHABLE, scene_seed=-1,
    )  # fmt: skip
    page = Page(
        build.write_report(replace(partial, episodes=(only,)), tmp_path).read_text('utf-8')
    )
    assert 'not judged' in page.text
    assert 'not reachable' in page.text
    assert 'by hand' in page.text
    assert not list((tmp_path / 'figures').glob('film*'))


def test_evaluation_without_practice_is_reported(full):
    kept = tuple(episode for episode in full.episodes if episode not in full.practice)
    page = Page(build.render(replace(full, episodes=kept), 'deft report'))
    assert 'no practice episode' in page.text


def test_names_from_the_bag_cannot_inject_markup(partial):
    hostile = '<script>alert(1)</script>"$x$'
    episodes = tuple(
        replace(episode, object_name=hostile, reward_source=hostile, task=hostile)
        for episode in partial.episodes
    )
    page = Page(build.render(replace(partial, episodes=episodes), 'deft report'))
    assert page.tags['script'] == 0
    assert hostile in page.text


def test_a_damaged_film_is_told_and_does_not_hide_the_rest(partial):
    best = best_and_worst(partial)[0]
    index = int(best.caption.split()[1].rstrip(',')) - 1
    broken = replace(
        partial.episodes[index],
        film=(*partial.episodes[index].film, FilmFrame(stamp=200.0, jpeg=b'\xff\xd8half')),
    )
    episodes = (*partial.episodes[:index], broken, *partial.episodes[index + 1 :])
    text = build.render(replace(partial, episodes=episodes), 'deft report')
    assert 'cannot be decoded, left out: 1' in text


def test_best_is_the_latest_of_equals_and_worst_the_earliest(partial):
    level = replace(
        partial, episodes=tuple(replace(episode, reward=0.5) for episode in partial.episodes)
    )
    assert [clip.caption.split(',')[0] for clip in best_and_worst(level)] == [
        'Episode 7',
        'Episode 1',
    ]
    single = replace(level, episodes=level.episodes[:1])
    assert [clip.key for clip in best_and_worst(single)] == ['best']


def test_an_episode_that_never_moved_is_not_the_worst(partial):
    still = replace(partial.episodes[0], reward=0.0, film=partial.episodes[0].film[:1])
    episodes = (still, *partial.episodes[1:])
    clips = {clip.key: clip for clip in best_and_worst(replace(partial, episodes=episodes))}
    moved = min(partial.episodes[1:], key=lambda episode: episode.reward)
    assert clips['worst'].caption.startswith(f'Episode {moved.index + 1},')
    motionless = tuple(replace(episode, film=episode.film[:1]) for episode in partial.episodes)
    unfilmed = replace(partial, episodes=motionless)
    assert best_and_worst(unfilmed) == ()
    assert 'worst episode' not in build.render(unfilmed, 'deft report')


def test_the_evaluation_is_shown_by_its_median_on_one_scene(full):
    shots = {shot.label: shot for shot in turning_points(full)}
    policy = full.episodes[shots['Policy, median trial'].number - 1]
    prior = full.episodes[shots['Prior alone, same scene'].number - 1]
    assert policy.scene_seed == prior.scene_seed
    better = sum(e.reward > policy.reward for e in full.phase(Phase.EVALUATE_POLICY))
    assert better in (4, 5)


def test_table_rows_tell_success_in_words(full):
    for row, episode in zip(rows(full), full.episodes, strict=True):
        assert row.success == ('success' if episode.success else 'no success')
        assert float(row.reward) == pytest.approx(episode.reward, abs=0.005)


def test_a_chart_becomes_svg_with_variables_and_png(full):
    def draw(palette):
        figure = figures.success_rates(find(full), palette)
        assert isinstance(figure, Figure)
        return figure

    root = ElementTree.fromstring(charts.to_svg(draw, 'rates'))
    assert root.tag.endswith('svg')
    assert 'width' not in root.attrib
    assert 'viewBox' in root.attrib
    text = ''.join(root.itertext())
    assert 'Last 10 of practice' in text
    assert Image.open(io.BytesIO(charts.to_png(draw))).size[0] == 1000


def test_spread_is_one_at_the_start_and_falls(full):
    figure = figures.sampling_spread(full, charts.LIGHT)
    lines = [line.get_ydata() for line in figure.axes[0].get_lines()][:3]
    for line in lines:
        assert np.allclose(line[:10], 1.0)
    assert all(line[-1] < 1.0 for line in lines)


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
    record = build.load_run(run)
    assert not record.truncated
    for read, original in zip(record.episodes, full.episodes[:9], strict=True):
        assert read.reward == original.reward
        assert np.array_equal(read.last_image, original.last_image)
        assert read.film[-1].jpeg == original.film[-1].jpeg


def test_a_bag_that_was_cut_off_is_reported_up_to_the_cut(full, records, tmp_path):
    with BagWriter(tmp_path / 'bag', records.typestore) as writer:
        writer.add_topic(EPISODE_TOPIC, EPISODE_TYPE, latched=True)
        for episode in full.episodes[:3]:
            # As the recorder does: an episode is on the disk before the next one starts.
            writer.write(EPISODE_TOPIC, records.cdr(records.record_of(episode)), 1)
            writer.flush()
        whole = writer.size
    bag = next((tmp_path / 'bag').glob('*.mcap'))
    bag.write_bytes(bag.read_bytes()[: whole - 1000])
    record = build.load_run(tmp_path)
    assert record.truncated
    assert len(record.episodes) == 2
    assert 'ends in the middle of a record' in build.render(record, 'deft report')


def test_an_empty_bag_is_one_sentence(tmp_path, records):
    records.write_bag(tmp_path / 'bag', [])
    with pytest.raises(RecordingError, match='no finished episode'):
        build.build_report(tmp_path)
    assert not (tmp_path / 'report.html').exists()


def test_a_missing_run_or_bag_is_one_sentence(tmp_path):
    with pytest.raises(RecordingError, match='no run folder'):
        build.build_report(tmp_path / 'nowhere')
    with pytest.raises(RecordingError, match='bag'):
        build.build_report(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(partial, tmp_path):
    (tmp_path / 'figures').write_text('in the way')
    with pytest.raises(RecordingError, match='cannot be written'):
        build.write_report(partial, tmp_path)
