# SPDX-License-Identifier: Apache-2.0
"""XML with line numbers, so that every refusal can name the place."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.files import read_text

_DEEPEST: Final = 32  # tags within one another
_MOST_TAGS: Final = 10_000


@dataclass(frozen=True)
class Element:
    """One tag of a launch file."""

    tag: str  # name of the tag
    attributes: dict[str, str]  # attribute texts before any substitution
    file: Path  # the file it stands in
    line: int  # line of the opening tag, from 1
    children: list[Element] = field(default_factory=list)  # nested tags in the order of the file

    def error(self, text: str) -> ConfigurationError:
        """An error that begins with file and line."""
        return ConfigurationError(f'{self.file}:{self.line}: {text}')

    def expect(
        self,
        required: Set[str],
        optional: Set[str] = frozenset(),
        children: Set[str] = frozenset(),
    ) -> None:
        """Refuse what this tag must not hold, and a required attribute that is missing."""
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


def read_document(file: Path) -> Element:
    """The `<launch>` tag of a launch file.

    Raises:
        ConfigurationError: The file cannot be read, is not XML or has another root tag.
    """
    parser = expat.ParserCreate()
    top = Element('', {}, file, 1)
    ancestors = [top]
    count = 0

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() != 'utf-8':
            raise ConfigurationError(f'{file}:1: the encoding must be UTF-8, got {encoding!r}.')

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        element = Element(tag, attributes, file, parser.CurrentLineNumber)
        if len(ancestors) > _DEEPEST or count > _MOST_TAGS:
            raise element.error(
                f'at most {_MOST_TAGS} tags, {_DEEPEST} within one another, are read.'
            )
        ancestors[-1].children.append(element)
        ancestors.append(element)

    def end(_tag: str) -> None:
        ancestors.pop()

    def text(content: str) -> None:
        if content.strip():
            raise ConfigurationError(
                f'{file}:{parser.CurrentLineNumber}: text outside of a tag: {content.strip()!r}.'
            )

    def document_type(*_: object) -> None:
        # It can define entities that expand without bound; no launch file needs one.
        raise ConfigurationError(f'{file}: a document type is not allowed in a launch file.')

    parser.XmlDeclHandler = declaration
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(read_text(file), True)
    except expat.ExpatError as error:
        raise ConfigurationError(
            f'{file}:{error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}.'
        ) from error
    (root,) = top.children
    if root.tag != 'launch':
        raise root.error(f'the root tag must be <launch>, got <{root.tag}>.')
    return root
