# SPDX-License-Identifier: Apache-2.0
"""The files of a bag: a session that was interrupted goes on in a further one.

bag/bag_0.mcap     until the first interruption, perhaps cut off
bag/bag_1.mcap     from there on
bag/metadata.yaml  names all of them, as rosbag2 does with a bag that was split
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

BAG_FOLDER: Final = 'bag'  # in the folder of a run
_PART: Final = re.compile(r'bag_(\d{1,6})\.mcap')
_MAGIC_BYTES: Final = 8  # a file that a kill left shorter than this never began


def part_file(number: int) -> str:
    """Name of a part, counted from 0."""
    return f'bag_{number}.mcap'


def parts_in(folder: Path) -> list[Path]:
    """MCAP files of a bag folder that hold something, in the order of recording.

    Args:
        folder: Bag folder; one that does not exist has no parts.
    """
    return [path for _, path in sorted(_numbered(folder)) if path.stat().st_size >= _MAGIC_BYTES]


def bag_parts(run_directory: Path) -> list[Path]:
    """MCAP files of a run that hold something, in the order of recording.

    Args:
        run_directory: Folder of the run.
    """
    return parts_in(run_directory / BAG_FOLDER)


def next_part(folder: Path) -> int:
    """Number of the part that a recorder writes next; no file of that number exists."""
    return max((number for number, _ in _numbered(folder)), default=-1) + 1


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = ((_PART.fullmatch(path.name), path) for path in folder.iterdir())
    return [(int(match[1]), path) for match, path in matches if match is not None]
