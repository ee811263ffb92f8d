# SPDX-License-Identifier: Apache-2.0
"""XML with line numbers, so that every refusal can name the place."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError


@dataclass(frozen=True)
class Element:
    """One tag of a launch file.

    Attributes:
        tag: Name of the tag.
        attributes: Attribute texts before any substitution.
        children: Nested tags in the order of the file.
        file: The file it stands in.
        line: Line of the opening tag, from 1.
    """

    tag: str
    attributes: Mapping[str, str]
    children: tuple[Element, ...]
    file: Path
    line: int

    def error(self, text: str) -> ConfigurationError:
        """An error that begins with file and line."""
        return ConfigurationError(f'{self.file}:{self.line}: {text}')

    def expect(
        self,
        required: Set[str],
        optional: Set[str] = frozenset(),
        children: Set[str] = frozenset(),
    ) -> None:
        """Refuse what this tag must not hold, and a required attribute that is missing.

        Raises:
            ConfigurationError: With file, line and the nearest known name.
        """
        known = required | optional
        for name in self.attributes:
            if name not in known:
                hint = nearest(name, known)
                raise self.error(f'<{self.tag}> does not know the attribute {name!r}; {hint}')
        for name in sorted(required):
            if name not in self.attributes:
                raise self.error(f'<{self.tag}> needs the attribute {name!r}.')
        for child in self.children:
            if child.tag not in children:
                hint = nearest(child.tag, children) if children else 'it takes no nested tags.'
                raise child.error(f'<{self.tag}> cannot hold the tag <{child.tag}>; {hint}')

    def named(self, tag: str) -> tuple[Element, ...]:
        """The nested tags of one name."""
        return tuple(child for child in self.children if child.tag == tag)


@dataclass
class _OpenElement:
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element]


class _Builder:
    """Collects expat events into a tree of `Element`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: list[_OpenElement] = []
        self.root: Element | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def parse(self, content: bytes) -> Element:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ConfigurationError(
                f'{self._file}:{error.lineno}: not well-formed XML: '
                f'{expat.ErrorString(error.code)}.'
            ) from error
        if self.root is None:
            raise ConfigurationError(f'{self._file}:1: the file holds no <launch> tag.')
        return self.root

    def _refuse(self, text: str) -> ConfigurationError:
        return ConfigurationError(f'{self._file}:{self._parser.CurrentLineNumber}: {text}')

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        self._open.append(_OpenElement(tag, dict(attributes), line, []))

    def _end(self, _tag: str) -> None:
        done = self._open.pop()
        element = Element(done.tag, done.attributes, tuple(done.children), self._file, done.line)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element

    def _text(self, text: str) -> None:
        if text.strip():
            raise self._refuse(f'text outside of a tag: {text.strip()!r}.')

    def _doctype(self, *_arguments: Any) -> None:
        # Document types can define entities that expand without bound; no launch file needs one.
        raise self._refuse('a document type is not allowed in a launch file.')


def read_document(file: Path) -> Element:
    """Read a launch file.

    Args:
        file: Path of the XML file.

    Returns:
        The `<launch>` tag.

    Raises:
        ConfigurationError: The file cannot be read, is not XML or has another root tag.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f'Cannot read the launch file {file}: {reason}.') from error
    root = _Builder(file).parse(content)
    if root.tag != 'launch':
        raise root.error(f'the root tag must be <launch>, got <{root.tag}>.')
    return root
