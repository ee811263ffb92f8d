# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import common
import make_results_page
import pytest

from deft_core.errors import RecordingError


@pytest.fixture(name='folder')
def _folder(tmp_path, monkeypatch):
    results = tmp_path / 'results'
    common.write_result(
        'simulation',
        {
            'steps_per_s': 5120.0,
            'episode_s': common.interval([0.5, 0.6, 0.7]),
            'shares': {'physics': 0.7, 'camera': 0.3},
            'seeds': [1, 2, 3],
            'table': [{'method': 'cem | plain', 'reach_m': 0.02}, {'method': 'mean'}],
        },
        'python benchmarks/simulation.py --seed 1',
        directory=results,
    )
    monkeypatch.setattr(make_results_page, 'RESULTS', results)
    monkeypatch.setattr(make_results_page, 'ROOT', tmp_path)
    monkeypatch.setattr(make_results_page, 'PAGE', tmp_path / 'results.md')
    return tmp_path


def test_each_figure_stands_with_its_command_and_unit(folder):
    page = make_results_page.make_page(make_results_page.load_results(folder / 'results'))
    assert '```bash\npython benchmarks/simulation.py --seed 1\n```' in page
    assert '| steps | 5,120 | 1/s |' in page
    assert '| episode | 0.6 (0.5 to 0.7) | s |' in page
    assert '### Shares' in page
    assert '| physics | 0.7 |  |' in page
    assert '\n1, 2, 3\n' in page
    assert '| method | reach (m) |\n| --- | ---: |\n| cem \\| plain | 0.02 |' in page
    assert '| mean | - |' in page
    assert common.machine_summary()['cpu'] in page


def test_results_stand_in_order_of_their_names(tmp_path):
    names = [f'b{index}' for index in (7, 2, 9, 4, 1)]
    for name in names:
        common.write_result(name, {'value': 1}, 'python x.py', directory=tmp_path)
    found = [result['name'] for result in make_results_page.load_results(tmp_path)]
    assert found == sorted(names)


def test_the_check_tells_a_stale_page(folder, capsys):
    assert make_results_page.main(['--check']) == 1
    assert make_results_page.main([]) == 0
    assert make_results_page.main(['--check']) == 0
    path = folder / 'results' / 'simulation.json'
    result = json.loads(path.read_text(encoding='utf-8'))
    result['measurements']['steps_per_s'] = 9999
    path.write_text(json.dumps(result), encoding='utf-8')
    assert make_results_page.main(['--check']) == 1
    assert 'not what the result files give' in capsys.readouterr().err


def test_without_results_the_page_says_so(tmp_path):
    page = make_results_page.make_page(make_results_page.load_results(tmp_path))
    assert 'Nothing has been measured yet' in page


@pytest.mark.parametrize(
    'change', [{'schema_version': 2}, {'name': 'other'}, {'measurements': None}]
)
def test_files_of_another_make_are_refused(folder, change, capsys):
    path = folder / 'results' / 'simulation.json'
    result = json.loads(path.read_text(encoding='utf-8'))
    for key, value in change.items():
        if value is None:
            del result[key]
        else:
            result[key] = value
    path.write_text(json.dumps(result), encoding='utf-8')
    with pytest.raises(RecordingError, match='run its benchmark again'):
        make_results_page.load_results(folder / 'results')
    assert make_results_page.main([]) == 3
    assert 'simulation.json' in capsys.readouterr().err
