# SPDX-License-Identifier: Apache-2.0
"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def print_rows(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; numbers to the right."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        padded = [_aligned(cell, width) for cell, width in zip(line, widths, strict=True)]
        print('  '.join(padded).rstrip())


def _aligned(cell: str, width: int) -> str:
    numeric = cell.lstrip('-').replace('.', '', 1).isdigit()
    return cell.rjust(width) if numeric else cell.ljust(width)
