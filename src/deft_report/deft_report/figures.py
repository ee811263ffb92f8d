# SPDX-License-Identifier: Apache-2.0
"""The charts: rewards (paper, figure 6), what was learned, and rates with their intervals.

A chart is drawn once. For the page it becomes an SVG whose colours are CSS variables, so that one
drawing serves light, dark and print; for other documents it becomes a PNG in the light colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from deft_cem.optimisers.cem import initial_standard_deviation
from deft_core.episode import Episode, Phase
from deft_core.grasp import FINGERS, JOINTS, JOINTS_PER_FINGER, POSITION, WRIST
from deft_core.validation import FloatArray
from deft_report.findings import Findings
from deft_report.run import RunRecord
from deft_report.statistics import Interval, Rate

PNG_DOTS_PER_INCH = 200
RUNNING = 5
WIDE = 10.2
HALF = 5.0
# Rewards reach both ends of [0, 1]; the marks need room there, and those without a reward a row.
REWARD_LIMITS = (-0.07, 1.05)
STYLE: dict[Any, Any] = {
    'font.family': 'sans-serif',
    'font.size': 9.5,
    'axes.titlesize': 10.5,
    'axes.titlelocation': 'left',
    'axes.titlepad': 9.0,
    'axes.labelsize': 9.5,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'xtick.labelsize': 9.0,
    'ytick.labelsize': 9.0,
    'xtick.major.size': 3.0,
    'ytick.major.size': 0.0,
    'lines.solid_capstyle': 'round',
    # Object names and the like are shown as they are, never parsed as formulas.
    'text.parse_math': False,
    # Text stays text: selectable, searchable and in the font of the page.
    'svg.fonttype': 'none',
    # Identifiers in the SVG must not change from one build to the next.
    'svg.hashsalt': 'deft',
}


# Success and failure and the four series follow Okabe and Ito and stay apart for the common colour
# vision deficiencies; marks differ in shape as well.
INK, MUTED, GRID, PAPER, BAND = '#1d2126', '#5f6872', '#e3e6ea', '#ffffff', '#f1f3f6'
SUCCESS, FAILURE = '#0072b2', '#c8500a'
SERIES = (SUCCESS, FAILURE, '#008f68', '#a85d8c')
# Each colour is the CSS variable of this name on the page.
_VARIABLES = {
    INK: 'ink',
    MUTED: 'muted',
    GRID: 'grid',
    PAPER: 'paper',
    BAND: 'band',
    SUCCESS: 'success',
    FAILURE: 'failure',
    SERIES[2]: 'third',
    SERIES[3]: 'fourth',
}
Draw = Callable[[], Figure]


def new_figure(width: float, height: float, gap: float = 0.02) -> Figure:
    """An empty figure that never touches a display. [inch]; gap is a share of the width."""
    layout = ConstrainedLayoutEngine(wspace=gap)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, grid: Literal['x', 'y'] = 'y') -> None:
    """Colour frame, ticks and labels and draw a quiet grid, after the contents were drawn."""
    axes.set_facecolor('none')
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.spines['left' if grid == 'y' else 'bottom'].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=MUTED)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)


def to_svg(draw: Draw, name: str) -> str:
    """One `<svg>` element for the page; `name` keeps the identifiers of several charts apart."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        draw().savefig(
            buffer, format='svg', transparent=True, metadata={'Date': None, 'Creator': None}
        )
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f'var(--chart-{variable})')
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf'\g<1>{name}-', text)
    # The page gives the width; a fixed one would not fit a narrow window.
    opening, rest = text.split('>', 1)
    return re.sub(r' (width|height)="[^"]*"', '', opening) + '>' + rest


def to_png(draw: Draw) -> bytes:
    """Draw for other documents, light colours on white, 200 dots per inch."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        draw().savefig(
            buffer,
            format='png',
            dpi=PNG_DOTS_PER_INCH,
            facecolor=PAPER,
            metadata={'Software': None},
        )
    return buffer.getvalue()


def learning_curve(record: RunRecord, findings: Findings) -> Figure:
    """Reward of every practice episode and, where there was one, of the evaluation."""
    evaluation = record.phase(Phase.EVALUATE_PRIOR, Phase.EVALUATE_POLICY)
    figure = new_figure(WIDE, 3.7)
    if evaluation:
        practice_axes, evaluation_axes = figure.subplots(
            1, 2, sharey=True, gridspec_kw={'width_ratios': (3.4, 1.0)}
        )
        _evaluation(evaluation_axes, record, findings)
    else:
        practice_axes = figure.subplots()
    _practice(practice_axes, record)
    return figure


def _practice(axes: Axes, record: RunRecord) -> None:
    episodes = record.practice
    numbers = _numbers(episodes)
    warm_up = _numbers(record.phase(Phase.WARM_UP))
    last = int(numbers[-1]) if episodes else 1
    if len(warm_up):
        boundary = warm_up[-1] + 0.5
        axes.axvspan(0.4, boundary, color=BAND, linewidth=0)
        axes.text(0.7, 1.06, 'warm-up', color=MUTED, va='bottom', fontsize=9)
        if boundary < last:
            axes.axvline(boundary, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.text(boundary + 0.3, 1.06, 'fine-tuning', color=MUTED, va='bottom', fontsize=9)
    running = running_mean(episodes, RUNNING)
    axes.plot(numbers, running, color=INK, linewidth=2.0, zorder=3)
    for number, episode in zip(numbers, episodes, strict=True):
        _mark(axes, float(number), episode)
    axes.plot([], [], 'o', color=SUCCESS, markersize=6.5, label='success')
    axes.plot([], [], 'X', color=FAILURE, markersize=6.5, label='no success')
    axes.plot([], [], color=INK, linewidth=2.0, label=f'mean of the last {RUNNING}')
    if any(episode.success is None or episode.reward is None for episode in episodes):
        axes.plot([], [], '|', color=MUTED, markersize=8, label='not judged')
    legend(axes, columns=4)
    axes.set_xlim(0.4, last + 0.6)
    axes.set_ylim(*REWARD_LIMITS)
    episode_axis(axes, last)
    axes.set_ylabel('reward (0 to 1)')
    dress(axes)


def legend(axes: Axes, columns: int) -> None:
    """Name what is drawn above the axes."""
    axes.legend(
        loc='lower left',
        bbox_to_anchor=(0.0, 1.09),
        ncols=columns,
        frameon=False,
        labelcolor=MUTED,
        borderaxespad=0.0,
        borderpad=0.0,
        fontsize=9,
    )


def _numbers(episodes: Sequence[Episode]) -> npt.NDArray[np.int64]:
    """Episode numbers as people count, from 1."""
    return np.array([episode.index + 1 for episode in episodes], dtype=np.int64)


def _mark(axes: Axes, place: float, episode: Episode) -> None:
    """One episode: colour and shape tell success, a tick on the floor tells a missing reward."""
    height = REWARD_LIMITS[0] / 2.0 if episode.reward is None else episode.reward
    if episode.success is None or episode.reward is None:
        shape, colour = '|', MUTED
    elif episode.success:
        shape, colour = 'o', SUCCESS
    else:
        shape, colour = 'X', FAILURE
    axes.plot(
        place,
        height,
        shape,
        color=colour,
        markersize=7.5,
        markeredgecolor=colour if shape == '|' else PAPER,
        markeredgewidth=1.5 if shape == '|' else 0.8,
        zorder=4,
        clip_on=False,
    )


def running_mean(episodes: Sequence[Episode], window: int) -> FloatArray:
    """Mean of the last `window` given rewards up to each episode; NaN while there is none."""
    given: list[float] = []
    means = []
    for episode in episodes:
        if episode.reward is not None:
            given.append(episode.reward)
        means.append(float(np.mean(given[-window:])) if given else float('nan'))
    return np.array(means, dtype=np.float64)


def _evaluation(axes: Axes, record: RunRecord, findings: Findings) -> None:
    for prior, policy in findings.pairs:
        if prior.reward is not None and policy.reward is not None:
            axes.plot(
                (0.0, 1.0),
                (prior.reward, policy.reward),
                color=MUTED,
                linewidth=0.7,
                alpha=0.6,
                zorder=2,
            )
    columns = (Phase.EVALUATE_PRIOR, Phase.EVALUATE_POLICY)
    means = {group.key: group.reward for group in findings.groups}
    for place, (phase, key) in enumerate(zip(columns, ('prior', 'policy'), strict=True)):
        for episode in record.phase(phase):
            _mark(axes, float(place), episode)
        outside = place + (0.24 if place else -0.24)
        mean = means[key]
        if mean is not None:
            _interval(axes, outside, mean)
    axes.set_xlim(-0.55, 1.55)
    axes.set_xticks((0, 1), ('prior alone', 'policy'))
    axes.text(
        0.5,
        1.06,
        'evaluation, same scenes' if findings.pairs else 'evaluation',
        color=MUTED,
        ha='center',
        va='bottom',
        fontsize=9,
    )
    dress(axes)
    axes.tick_params(axis='y', labelleft=False)


def _interval(axes: Axes, place: float, interval: Interval) -> None:
    """A mean with its 95% interval as an upright bar."""
    axes.plot((place, place), (interval.low, interval.high), color=INK, linewidth=2.2, zorder=3)
    axes.plot(place, interval.value, 's', color=INK, markersize=5, zorder=4)


def rate_bars(axes: Axes, lines: Sequence[tuple[str, Rate | None, bool]]) -> None:
    """Label, rate with interval, and whether it is coloured as a result of learning, downwards."""
    for height, (_, rate, stands_out) in zip(reversed(range(len(lines))), lines, strict=True):
        if rate is None:
            axes.text(0.01, height, 'no trial', color=MUTED, va='center', fontsize=9)
            continue
        ends = (rate.interval.low, rate.interval.high)
        colour = SUCCESS if stands_out else INK
        axes.plot(ends, (height, height), color=colour, linewidth=3.0, alpha=0.45, zorder=2)
        axes.plot(rate.value, height, 'o', color=colour, markersize=8, zorder=3, clip_on=False)
        count = f'{rate.successes} of {rate.trials}'
        axes.text(1.05, height, count, color=INK, va='center', fontsize=9.5)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_yticks(range(len(lines)), [label for label, _, _ in reversed(lines)])
    axes.set_xlabel('success rate, 95% interval')
    dress(axes, grid='x')
    axes.tick_params(axis='y', labelcolor=INK, pad=10)  # a dot may lie on the axis


def residual_mean(record: RunRecord) -> Figure:
    """Mean of D over practice: where the grasp moved to, seen from the prior."""
    figure = new_figure(WIDE, 2.75, gap=0.07)
    panels = figure.subplots(1, 3)
    episodes = record.practice
    numbers = _numbers(episodes)
    means = np.array([episode.distribution_mean for episode in episodes])
    fingers = means[:, JOINTS].reshape(len(episodes), len(FINGERS), len(JOINTS_PER_FINGER))
    sigma = initial_standard_deviation()
    contents = (
        (
            'Grasp centre',
            'shift in the base frame (m)',
            means[:, POSITION],
            ('x', 'y', 'z'),
            sigma[POSITION][0],
        ),
        (
            'Wrist',
            'added Euler angle (rad)',
            means[:, WRIST],
            ('about x', 'about y', 'about z'),
            sigma[WRIST][0],
        ),
        # The side joint spreads the finger; the other three bend it.
        ('Fingers', 'added bend (rad)', fingers[:, :, 1:].mean(axis=2), FINGERS, sigma[JOINTS][0]),
    )
    for axes, (title, label, values, names, scale) in zip(panels, contents, strict=True):
        ends = []
        for column, name in enumerate(names):
            colour = SERIES[column]
            axes.plot(numbers, values[:, column], color=colour, linewidth=1.8)
            ends.append((float(values[-1, column]), name, colour))
        axes.axhspan(-scale, scale, color=BAND, linewidth=0)
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        _label_ends(axes, float(numbers[-1]), ends)
        episode_axis(axes, int(numbers[-1]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_title(title, color=INK)
        axes.set_ylabel(label)
        dress(axes)
    return figure


def episode_axis(axes: Axes, last: int) -> None:
    """Label the first episode and every fifth, fewer of a long run, each one of a short."""
    step = 1 if last <= RUNNING * 2 else 5 * -(-last // 100)
    axes.set_xticks([1, *range(step, last + 1, step)] if step > 1 else list(range(1, last + 1)))
    axes.set_xlabel('practice episode')


def _label_ends(axes: Axes, end: float, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write each line's name beside its last point, pushed apart where lines meet."""
    low, high = axes.get_ylim()
    gap = 0.085 * (high - low)
    axes.set_ylim(low, high)
    ordered = sorted(labels)
    heights: list[float] = []
    for height, _, _ in ordered:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    # Shift the stack back so that the labels stay centred on their lines.
    excess = float(np.mean(heights)) - float(np.mean([label[0] for label in ordered]))
    for height, (_, name, colour) in zip(heights, ordered, strict=True):
        axes.annotate(
            name,
            (end, height - excess),
            xytext=(7, 0),
            textcoords='offset points',
            color=colour,
            va='center',
            fontsize=9,
            annotation_clip=False,
        )
