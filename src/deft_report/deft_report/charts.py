# SPDX-License-Identifier: Apache-2.0
"""How every chart of the report is styled and written.

A chart is drawn once. For the page it becomes an SVG whose colours are CSS variables, so that one
drawing serves light, dark and print; for other documents it becomes a PNG in the light colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

PNG_DOTS_PER_INCH = 200
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
