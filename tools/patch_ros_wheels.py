# SPDX-License-Identifier: Apache-2.0
"""Point the CMake files of the ROS wheels at this environment.

The wheels were built elsewhere, and two paths of that place are baked into their CMake exports:
the Python headers and the numpy headers. Idempotent.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

_PYTHON_HEADERS = re.compile(r'/opt/python/cp\d+-cp\d+/include/python3\.\d+')
_NUMPY_HEADERS = re.compile(
    r'/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/_core/include'
)


def patch(share: Path, python_headers: str, numpy_headers: str) -> int:
    """Rewrite the baked paths below `share` and return the number of changed files."""
    changed = 0
    for path in sorted(share.rglob('*.cmake')):
        text = path.read_text(encoding='utf-8')
        patched = _NUMPY_HEADERS.sub(numpy_headers, text)
        patched = _PYTHON_HEADERS.sub(python_headers, patched)
        if patched != text:
            path.write_text(patched, encoding='utf-8')
            changed += 1
    return changed


if __name__ == '__main__':
    count = patch(Path(sys.prefix) / 'share', sysconfig.get_path('include'), np.get_include())
    print(f'patched {count} CMake files of the ROS wheels')
