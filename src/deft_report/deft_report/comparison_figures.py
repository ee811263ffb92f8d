# SPDX-License-Identifier: Apache-2.0
"""The charts of a comparison: learning curves (paper, figure 6) and success rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from deft_core.validation import FloatArray
from deft_report.charts import Palette, dress, new_figure
from deft_report.comparison import Comparison, method_of
from deft_report.figures import REWARD_LIMITS, WIDE, episode_axis, running_mean

WINDOW: Final = 10  # episodes, as in the paper's ten trials
_STYLES: Final = ('-', (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_ROW_INCHES: Final = 0.34


def has_curves(comparison: Comparison) -> bool:
    """Whether any run practised."""
    return any(record.practice for record in comparison.records.values())


def has_rates(comparison: Comparison) -> bool:
    """Whether any trial was judged."""
    return any(row.rate is not None for row in comparison.rows)


def learning_curves(comparison: Comparison, palette: Palette) -> Figure:
    """Mean of the last ten rewards over practice, one thin line a run, one thick a method."""
    figure = new_figure(WIDE, 3.7)
    _curves(figure.subplots(), comparison, palette)
    return figure


def success_rates(comparison: Comparison, palette: Palette) -> Figure:
    """Success with Wilson 95% intervals, one line for each line of the table that has one."""
    figure = new_figure(WIDE, _rates_height(comparison))
    _rates(figure.subplots(), comparison, palette)
    return figure


def overview(comparison: Comparison, palette: Palette) -> Figure:
    """Both charts, or the one there is, in one picture."""
    parts = [(3.7, _curves)] if has_curves(comparison) else []
    if has_rates(comparison):
        parts.append((_rates_height(comparison), _rates))
    heights = [height for height, _ in parts]
    figure = new_figure(WIDE, sum(heights) + 0.2 if heights else 1.0)
    if not parts:
        figure.text(0.5, 0.5, 'no practice, no judged trial', ha='center', color=palette.muted)
        return figure
    panels = np.atleast_1d(figure.subplots(len(parts), 1, gridspec_kw={'height_ratios': heights}))
    for axes, (_, draw) in zip(panels, parts, strict=True):
        draw(axes, comparison, palette)
    return figure


def _rates_height(comparison: Comparison) -> float:
    return 0.8 + _ROW_INCHES * sum(row.rate is not None for row in comparison.rows)


def _curves(axes: Axes, comparison: Comparison, palette: Palette) -> None:
    groups: dict[str, list[FloatArray]] = {}
    tasks = {record.episodes[0].task for record in comparison.records.values()}
    for record in comparison.records.values():
        if not record.practice:
            continue
        name = method_of(record)
        if len(tasks) > 1:
            name = f'{record.episodes[0].task}, {name}'
        groups.setdefault(name, []).append(running_mean(record.practice, WINDOW))
    last = 1
    for place, (name, curves) in enumerate(groups.items()):
        colour = palette.series[place % len(palette.series)]
        style = _STYLES[place // len(palette.series) % len(_STYLES)]
        mean = _mean_over_runs(curves)
        last = max(last, mean.size)
        if len(curves) > 1:
            for curve in curves:
                numbers = np.arange(1, curve.size + 1)
                axes.plot(numbers, curve, color=colour, linestyle=style, linewidth=0.8, alpha=0.5)
        count = f'{len(curves)} run{"" if len(curves) == 1 else "s"}'
        axes.plot(
            np.arange(1, mean.size + 1),
            mean,
            color=colour,
            linestyle=style,
            linewidth=2.2,
            label=f'{name} ({count})',
        )
    axes.legend(
        loc='lower left',
        bbox_to_anchor=(0.0, 1.02),
        ncols=3,
        frameon=False,
        labelcolor=palette.muted,
        borderaxespad=0.0,
        borderpad=0.0,
    )
    axes.set_xlim(0.4, last + 0.6)
    axes.set_ylim(*REWARD_LIMITS)
    episode_axis(axes, last)
    axes.set_ylabel(f'mean of the last {WINDOW} rewards')
    dress(axes, palette)


def _mean_over_runs(curves: Sequence[FloatArray]) -> FloatArray:
    """Mean at each episode over the runs that all got there. Shape (shortest,)."""
    shortest = min(curve.size for curve in curves)
    return np.asarray(np.mean([curve[:shortest] for curve in curves], axis=0), dtype=np.float64)


def _rates(axes: Axes, comparison: Comparison, palette: Palette) -> None:
    rows = [row for row in comparison.rows if row.rate is not None]
    tasks = {row.key.task for row in rows}
    labels = []
    for place, row in enumerate(reversed(rows)):
        assert row.rate is not None, 'rows without a rate are left out'
        interval = row.rate.interval
        colour = palette.success if row.key.tried == 'policy' else palette.ink
        axes.plot(
            (interval.low, interval.high),
            (place, place),
            color=colour,
            linewidth=4.5 if row.pooled else 3.0,
            alpha=0.45,
            zorder=2,
        )
        axes.plot(interval.value, place, 'o', color=colour, markersize=8, zorder=3, clip_on=False)
        axes.text(
            1.03, place, f'{row.rate.successes} of {row.rate.trials}', color=palette.ink,
            va='center', fontsize=9.5,
        )  # fmt: skip
        task = f'{row.key.task}, ' if len(tasks) > 1 else ''
        labels.append(f'{row.run}: {task}{row.key.label}, {row.key.object_set}')
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xlabel('success rate, 95% interval')
    dress(axes, palette, grid='x')
    axes.tick_params(axis='y', labelcolor=palette.ink)
