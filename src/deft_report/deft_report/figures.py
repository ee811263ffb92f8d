# SPDX-License-Identifier: Apache-2.0
"""The charts: reward, success, sampling spread, residual mean (paper, figure 6).

A chart is drawn once. For the page it becomes an SVG whose colours are CSS variables, so that one
drawing serves light, dark and print; for other documents it becomes a PNG in the light colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from deft_cem.optimisers.paper_parameters import initial_standard_deviation
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
BLOCKS = (
    ('position', POSITION, 'm'),
    ('wrist', WRIST, 'rad'),
    ('joints', JOINTS, 'rad'),
)
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


@dataclass(frozen=True)
class Palette:
    """Colours by role, as hexadecimal RGB.

    The pairs that carry meaning (success and failure, the four series) follow Okabe and Ito and
    stay apart for the common colour vision deficiencies; marks differ in shape as well.
    """

    ink: str
    muted: str
    grid: str
    paper: str
    band: str
    success: str
    failure: str
    mean: str
    first: str
    second: str
    third: str
    fourth: str

    @property
    def series(self) -> tuple[str, str, str, str]:
        """Colours for up to four lines of one chart."""
        return (self.first, self.second, self.third, self.fourth)


LIGHT = Palette(
    ink='#1d2126',
    muted='#5f6872',
    grid='#e3e6ea',
    paper='#ffffff',
    band='#f1f3f6',
    success='#0072b2',
    failure='#c8500a',
    mean='#1d2126',
    first='#0072b2',
    second='#c8500a',
    third='#008f68',
    fourth='#a85d8c',
)
# Never shown: each stands for one CSS variable until the SVG is written.
_MARKERS = Palette(*(f'#0fee{index:02x}' for index in range(len(fields(Palette)))))

Draw = Callable[[Palette], Figure]


def new_figure(width: float, height: float, gap: float = 0.02) -> Figure:
    """An empty figure that never touches a display.

    Args:
        width: Drawn width. [inch].
        height: Drawn height. [inch].
        gap: Room between axes, as a share of the width.
    """
    layout = ConstrainedLayoutEngine(wspace=gap)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, palette: Palette, grid: str = 'y') -> None:
    """Colour frame, ticks and labels by role and draw a quiet grid.

    Args:
        axes: What to dress, after its contents were drawn.
        palette: Colours by role.
        grid: Direction of the grid lines' values: 'x' or 'y'.
    """
    axes.set_facecolor('none')
    axes.grid(axis='x' if grid == 'x' else 'y', color=palette.grid, linewidth=0.8)
    axes.spines['left' if grid == 'y' else 'bottom'].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(palette.muted)
    axes.tick_params(colors=palette.muted, labelcolor=palette.muted)
    axes.xaxis.label.set_color(palette.muted)
    axes.yaxis.label.set_color(palette.muted)


def to_svg(draw: Draw, name: str) -> str:
    """Draw for the page.

    Args:
        draw: Makes the figure from a palette.
        name: Unique on the page; keeps identifiers of several charts apart.

    Returns:
        One `<svg>` element. Its colours are the CSS variables `--chart-ROLE`.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        draw(_MARKERS).savefig(
            buffer, format='svg', transparent=True, metadata={'Date': None, 'Creator': None}
        )
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    for field in fields(Palette):
        text = text.replace(getattr(_MARKERS, field.name), f'var(--chart-{field.name})')
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf'\g<1>{name}-', text)
    # The page gives the width; a fixed one would not fit a narrow window.
    return re.sub(r'^<svg[^>]*>', _without_size, text)


def _without_size(opening: re.Match[str]) -> str:
    return re.sub(r' (width|height)="[^"]*"', '', opening.group())


def to_png(draw: Draw) -> bytes:
    """Draw for other documents, light colours on white, 200 dots per inch."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        draw(LIGHT).savefig(
            buffer,
            format='png',
            dpi=PNG_DOTS_PER_INCH,
            facecolor=LIGHT.paper,
            metadata={'Software': None},
        )
    return buffer.getvalue()


def learning_curve(record: RunRecord, findings: Findings, palette: Palette) -> Figure:
    """Reward of every practice episode and, where there was one, of the evaluation."""
    evaluation = record.phase(Phase.EVALUATE_PRIOR, Phase.EVALUATE_POLICY)
    figure = new_figure(WIDE, 3.7)
    if evaluation:
        practice_axes, evaluation_axes = figure.subplots(
            1, 2, sharey=True, gridspec_kw={'width_ratios': (3.4, 1.0)}
        )
        _evaluation(evaluation_axes, record, findings, palette)
    else:
        practice_axes = figure.subplots()
    _practice(practice_axes, record, palette)
    return figure


def _practice(axes: Axes, record: RunRecord, palette: Palette) -> None:
    episodes = record.practice
    numbers = _numbers(episodes)
    warm_up = _numbers(record.phase(Phase.WARM_UP))
    last = int(numbers[-1]) if episodes else 1
    if len(warm_up):
        boundary = warm_up[-1] + 0.5
        axes.axvspan(0.4, boundary, color=palette.band, linewidth=0)
        axes.text(0.7, 1.06, 'warm-up', color=palette.muted, va='bottom', fontsize=9)
        if boundary < last:
            axes.axvline(boundary, color=palette.muted, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.text(
                boundary + 0.3, 1.06, 'fine-tuning', color=palette.muted, va='bottom', fontsize=9
            )
    running = running_mean(episodes, RUNNING)
    axes.plot(numbers, running, color=palette.mean, linewidth=2.0, zorder=3)
    for number, episode in zip(numbers, episodes, strict=True):
        _mark(axes, float(number), episode, palette)
    handles = [
        axes.plot([], [], 'o', color=palette.success, markersize=6.5, label='success')[0],
        axes.plot([], [], 'X', color=palette.failure, markersize=6.5, label='no success')[0],
        axes.plot([], [], color=palette.mean, linewidth=2.0, label=f'mean of the last {RUNNING}')[
            0
        ],
    ]
    if any(episode.success is None or episode.reward is None for episode in episodes):
        handles.append(
            axes.plot([], [], '|', color=palette.muted, markersize=8, label='not judged')[0]
        )
    axes.legend(
        handles=handles,
        loc='lower left',
        bbox_to_anchor=(0.0, 1.09),
        ncols=len(handles),
        frameon=False,
        labelcolor=palette.muted,
        handletextpad=0.5,
        columnspacing=1.6,
        borderaxespad=0.0,
        borderpad=0.0,
        fontsize=9,
    )
    axes.set_xlim(0.4, last + 0.6)
    axes.set_ylim(*REWARD_LIMITS)
    episode_axis(axes, last)
    axes.set_ylabel('reward (0 to 1)')
    dress(axes, palette)


def _numbers(episodes: Sequence[Episode]) -> npt.NDArray[np.int64]:
    """Episode numbers as people count, from 1."""
    return np.array([episode.index + 1 for episode in episodes], dtype=np.int64)


def _mark(axes: Axes, place: float, episode: Episode, palette: Palette) -> None:
    """One episode: colour and shape tell success, a tick on the floor tells a missing reward."""
    height = REWARD_LIMITS[0] / 2.0 if episode.reward is None else episode.reward
    if episode.success is None or episode.reward is None:
        shape, colour = '|', palette.muted
    elif episode.success:
        shape, colour = 'o', palette.success
    else:
        shape, colour = 'X', palette.failure
    axes.plot(
        place,
        height,
        shape,
        color=colour,
        markersize=7.5,
        markeredgecolor=colour if shape == '|' else palette.paper,
        markeredgewidth=1.5 if shape == '|' else 0.8,
        zorder=4,
        clip_on=False,
    )


def running_mean(episodes: Sequence[Episode], window: int) -> FloatArray:
    """Mean of the last given rewards up to each episode; NaN while there is none.

    Args:
        episodes: In order.
        window: Rewards in a mean.
    """
    given: list[float] = []
    means = []
    for episode in episodes:
        if episode.reward is not None:
            given.append(episode.reward)
        means.append(float(np.mean(given[-window:])) if given else float('nan'))
    return np.array(means, dtype=np.float64)


def _evaluation(axes: Axes, record: RunRecord, findings: Findings, palette: Palette) -> None:
    for pair in findings.pairs:
        if pair.prior.reward is not None and pair.policy.reward is not None:
            axes.plot(
                (0.0, 1.0),
                (pair.prior.reward, pair.policy.reward),
                color=palette.muted,
                linewidth=0.7,
                alpha=0.6,
                zorder=2,
            )
    columns = (Phase.EVALUATE_PRIOR, Phase.EVALUATE_POLICY)
    means = {group.key: group.reward for group in findings.groups}
    for place, (phase, key) in enumerate(zip(columns, ('prior', 'policy'), strict=True)):
        for episode in record.phase(phase):
            _mark(axes, float(place), episode, palette)
        outside = place + (0.24 if place else -0.24)
        mean = means[key]
        if mean is not None:
            _interval(axes, outside, mean, palette)
    axes.set_xlim(-0.55, 1.55)
    axes.set_xticks((0, 1), ('prior alone', 'policy'))
    axes.text(
        0.5,
        1.06,
        'evaluation, same scenes' if findings.pairs else 'evaluation',
        color=palette.muted,
        ha='center',
        va='bottom',
        fontsize=9,
    )
    dress(axes, palette)
    axes.tick_params(axis='y', labelleft=False)


def _interval(axes: Axes, place: float, interval: Interval, palette: Palette) -> None:
    """A mean with its 95% interval as an upright bar."""
    axes.plot(
        (place, place), (interval.low, interval.high), color=palette.ink, linewidth=2.2, zorder=3
    )
    axes.plot(place, interval.value, 's', color=palette.ink, markersize=5, zorder=4)


def success_rates(findings: Findings, palette: Palette) -> Figure:
    """Success of the four blocks with Wilson 95% intervals."""
    figure = new_figure(HALF, 2.75)
    lines = [(group.label, group.rate, group.key == 'policy') for group in findings.groups]
    rate_bars(figure.subplots(), lines, palette)
    return figure


def rate_bars(
    axes: Axes, lines: Sequence[tuple[str, Rate | None, bool]], palette: Palette
) -> None:
    """Rates with their intervals, from top to bottom.

    Args:
        axes: Where to draw.
        lines: Label, rate, and whether it stands out as a success of learning.
        palette: Colours by role.
    """
    for height, (_, rate, stands_out) in zip(reversed(range(len(lines))), lines, strict=True):
        if rate is None:
            axes.text(0.01, height, 'no trial', color=palette.muted, va='center', fontsize=9)
            continue
        ends = (rate.interval.low, rate.interval.high)
        colour = palette.success if stands_out else palette.ink
        axes.plot(ends, (height, height), color=colour, linewidth=3.0, alpha=0.45, zorder=2)
        axes.plot(rate.value, height, 'o', color=colour, markersize=8, zorder=3, clip_on=False)
        count = f'{rate.successes} of {rate.trials}'
        axes.text(1.05, height, count, color=palette.ink, va='center', fontsize=9.5)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_yticks(range(len(lines)), [label for label, _, _ in reversed(lines)])
    axes.set_xlabel('success rate, 95% interval')
    dress(axes, palette, grid='x')
    axes.tick_params(axis='y', labelcolor=palette.ink)


def sampling_spread(record: RunRecord, palette: Palette) -> Figure:
    """Standard deviation of D over practice, relative to the start values of Table 4."""
    figure = new_figure(HALF, 2.75)
    axes = figure.subplots()
    episodes = record.practice
    if not episodes:
        return _nothing(figure, axes, palette)
    numbers = _numbers(episodes)
    spreads = np.array([episode.distribution_std for episode in episodes])
    start = initial_standard_deviation()
    ends = []
    for (name, block, unit), colour in zip(BLOCKS, palette.series, strict=False):
        ratio = _root_mean_square(spreads[:, block] / start[block])
        axes.plot(numbers, ratio, color=colour, linewidth=2.0)
        now = float(_root_mean_square(spreads[-1:, block])[0])
        ends.append((float(ratio[-1]), f'{name} {now:.2g} {unit}', colour))
    axes.axhline(1.0, color=palette.muted, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylim(0.0, None)
    _label_ends(axes, float(numbers[-1]), ends)
    episode_axis(axes, int(numbers[-1]))
    axes.set_ylabel('standard deviation / Table 4')
    dress(axes, palette)
    return figure


def residual_mean(record: RunRecord, palette: Palette) -> Figure:
    """Mean of D over practice: where the grasp moved to, seen from the prior."""
    figure = new_figure(WIDE, 2.75, gap=0.07)
    panels = figure.subplots(1, 3)
    episodes = record.practice
    if not episodes:
        for axes in panels:
            _nothing(figure, axes, palette)
        return figure
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
            colour = palette.series[column]
            axes.plot(numbers, values[:, column], color=colour, linewidth=1.8)
            ends.append((float(values[-1, column]), name, colour))
        axes.axhspan(-scale, scale, color=palette.band, linewidth=0)
        axes.axhline(0.0, color=palette.muted, linewidth=0.8)
        _label_ends(axes, float(numbers[-1]), ends)
        episode_axis(axes, int(numbers[-1]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_title(title, color=palette.ink)
        axes.set_ylabel(label)
        dress(axes, palette)
    return figure


def episode_axis(axes: Axes, last: int) -> None:
    """Label the first episode and every fifth, or each one of a short run."""
    ticks = [1, *range(5, last + 1, 5)] if last > RUNNING * 2 else list(range(1, last + 1))
    axes.set_xticks(ticks)
    axes.set_xlabel('practice episode')


def _root_mean_square(values: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=1)), dtype=np.float64)


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


def _nothing(figure: Figure, axes: Axes, palette: Palette) -> Figure:
    axes.text(
        0.5,
        0.5,
        'no practice episode',
        color=palette.muted,
        ha='center',
        va='center',
        transform=axes.transAxes,
    )
    axes.set_axis_off()
    return figure
