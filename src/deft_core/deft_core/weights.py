# SPDX-License-Identifier: Apache-2.0
"""Files with pretrained weights: where they lie, and whether they are what they should be.

Nothing is downloaded. The user puts a file into the weights folder; its SHA-256 must be the one
known to DEFT or the one in the folder's SHA256SUMS (the format of `sha256sum`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deft_core.errors import ConfigurationError
from deft_core.files import read_bytes, read_text

CHECKSUM_FILE: Final = 'SHA256SUMS'
_MAXIMUM_BYTES: Final = 4 * 1024**3
_CHECKSUM_LINE: Final = re.compile(r'([0-9a-fA-F]{64}) [ *](.+)')


def weights_directory() -> Path:
    """Folder of weights: `DEFT_WEIGHTS`, else deft/weights in the user's data folder."""
    override = os.environ.get('DEFT_WEIGHTS')
    if override:
        return Path(override)
    data = os.environ.get('XDG_DATA_HOME') or '~/.local/share'
    return Path(data).expanduser() / 'deft' / 'weights'


@dataclass(frozen=True)
class WeightsFile:
    """A file that somebody else publishes.

    Attributes:
        name: File name in the weights folder.
        source: Where to get it.
        size: Its length, where known. [byte]
        sha256: Its checksum, where the publisher's file is known.
    """

    name: str
    source: str
    size: int | None = None
    sha256: str | None = None

    def read(self, directory: Path | None = None) -> tuple[bytes, str]:
        """Read the whole file and check it.

        Args:
            directory: Weights folder; None takes `weights_directory()`.

        Returns:
            Its bytes and their SHA-256.

        Raises:
            ConfigurationError: The file is missing, cannot be read, or its checksum is unknown
                or another one.
        """
        directory = weights_directory() if directory is None else directory
        path = directory / self.name
        if not path.is_file():
            raise ConfigurationError(
                f'{self.name} ({self._described()}) is missing in {directory}; get it from '
                f'{self.source} and put it there, or name its folder in DEFT_WEIGHTS.'
            )
        expected = _checksums(directory).get(self.name, self.sha256)
        data = read_bytes(path, _MAXIMUM_BYTES)
        found = hashlib.sha256(data).hexdigest()
        if expected is None:
            raise ConfigurationError(
                f'No checksum is known for {path} (SHA-256 {found}); if the file comes from '
                f'{self.source}, run `sha256sum {self.name} >> {CHECKSUM_FILE}` in its folder.'
            )
        if found != expected:
            raise ConfigurationError(
                f'{path} has SHA-256 {found}, expected {expected}; get it again from '
                f'{self.source}.'
            )
        return data, found

    def _described(self) -> str:
        size = 'size not known' if self.size is None else f'{self.size / 1e6:.1f} MB'
        checksum = 'not known, to be noted in SHA256SUMS' if self.sha256 is None else self.sha256
        return f'{size}, SHA-256 {checksum}'


def first_present(files: Sequence[WeightsFile], directory: Path) -> WeightsFile:
    """The first of several acceptable files that is in a folder, else the first of all."""
    return next((file for file in files if (directory / file.name).is_file()), files[0])


def _checksums(directory: Path) -> dict[str, str]:
    """File name to SHA-256 of the folder's own list; empty without one.

    Raises:
        ConfigurationError: A list that is not one.
    """
    path = directory / CHECKSUM_FILE
    if not path.exists():
        return {}
    checksums = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        match = _CHECKSUM_LINE.fullmatch(line.strip())
        if line.strip() and match is None:
            raise ConfigurationError(
                f'{path}: line {number} must be a SHA-256 and a file name, as sha256sum writes it.'
            )
        if match is not None:
            checksums[match[2]] = match[1].lower()
    return checksums
