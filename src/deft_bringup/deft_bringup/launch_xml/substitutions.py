# SPDX-License-Identifier: Apache-2.0
"""`$(name argument ...)` in attribute texts: parsing, evaluation and description.

The grammar is that of upstream `launch`: arguments are separated by one space, may hold nested
substitutions, and may be quoted to hold spaces or nothing. Backslash escapes are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from deft_bringup.launch_xml.document import Element
from deft_bringup.packages import share_directory
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

_IDENTIFIER: Final = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')
# Number of arguments that each substitution takes: (least, most).
_ARITY: Final[Mapping[str, tuple[int, int]]] = {
    'dirname': (0, 0),
    'env': (1, 2),
    'equals': (2, 2),
    'find-pkg-share': (1, 1),
    'var': (1, 2),
}


@dataclass(frozen=True)
class Text:
    """Literal characters."""

    value: str


@dataclass(frozen=True)
class Call:
    """One substitution with its arguments."""

    name: str
    arguments: tuple[Template, ...]


Template = tuple[Text | Call, ...]


@dataclass
class Scope:
    """What substitutions can see.

    Attributes:
        configurations: Launch configurations by name.
        environment: Environment variables.
        directory: Folder of the current launch file; None where it is not known.
    """

    configurations: dict[str, str]
    environment: Mapping[str, str]
    directory: Path | None = field(default=None)


def parse(text: str, element: Element) -> Template:
    """Parse an attribute text.

    Args:
        text: The attribute as written.
        element: The tag it belongs to, for messages.

    Raises:
        ConfigurationError: The text is not well formed or names an unknown substitution.
    """
    reader = _Reader(text, element)
    template = reader.template('')
    if reader.position != len(text):
        reader.refuse('unexpected character')
    return template


def literal(text: str) -> Template:
    """A template without substitutions."""
    return (Text(text),)


class _Reader:
    """Recursive descent over one text."""

    def __init__(self, text: str, element: Element) -> None:
        if '\\' in text:
            raise element.error(f'backslash escapes are not supported, got {text!r}.')
        self._text = text
        self._element = element
        self.position = 0

    def refuse(self, reason: str) -> NoReturn:
        raise self._element.error(f'{reason} at column {self.position + 1} of {self._text!r}.')

    def _at(self, token: str) -> bool:
        return self._text.startswith(token, self.position)

    def template(self, end: str) -> Template:
        """Fragments up to `end` (a quote), or to the end of the text where `end` is empty."""
        fragments: list[Text | Call] = []
        while self.position < len(self._text) and not (end and self._at(end)):
            if self._at('$('):
                fragments.append(self._call(end))
            else:
                fragments.append(self._literal(lambda letter: letter == end))
        return tuple(fragments) if fragments or end else literal('')

    def _literal(self, stops: Callable[[str], bool]) -> Text:
        start = self.position
        while (
            self.position < len(self._text)
            and not self._at('$(')
            and not stops(self._text[self.position])
        ):
            self.position += 1
        return Text(self._text[start : self.position])

    def _call(self, quote: str) -> Call:
        self.position += len('$(')
        match = _IDENTIFIER.match(self._text, self.position)
        if match is None:
            self.refuse('a substitution needs a name')
        name = match.group()
        self.position = match.end()
        arguments: list[Template] = []
        while self._at(' '):
            self.position += 1
            arguments.append(self._argument(quote))
        if not self._at(')'):
            self.refuse('expected a space or a closing bracket')
        self.position += 1
        return self._checked(name, tuple(arguments))

    def _argument(self, quote: str) -> Template:
        # Inside a quoted text no further quoting is possible, as in the upstream grammar.
        if not quote and self.position < len(self._text) and self._text[self.position] in '\'"':
            mark = self._text[self.position]
            self.position += 1
            template = self.template(mark)
            if not self._at(mark):
                self.refuse('missing closing quote')
            self.position += 1
            return template
        forbidden = ' ()' + (quote or '\'"')
        parts: list[Text | Call] = []
        while self.position < len(self._text) and self._text[self.position] not in forbidden:
            if self._at('$('):
                parts.append(self._call(quote))
            else:
                parts.append(self._literal(lambda letter: letter in forbidden))
        if not parts:
            self.refuse('expected an argument')
        return tuple(parts)

    def _checked(self, name: str, arguments: tuple[Template, ...]) -> Call:
        if name not in _ARITY:
            raise self._element.error(
                f'the substitution $({name}) is not supported; {nearest(name, _ARITY)}'
            )
        least, most = _ARITY[name]
        if not least <= len(arguments) <= most:
            expected = str(least) if least == most else f'{least} or {most}'
            raise self._element.error(
                f'$({name}) takes {expected} argument(s), got {len(arguments)}.'
            )
        return Call(name, arguments)


def evaluate(template: Template, scope: Scope, element: Element) -> str:
    """Text of a template in a scope.

    Raises:
        ConfigurationError: A configuration, variable or package does not exist.
    """
    return ''.join(
        part.value if isinstance(part, Text) else _perform(part, scope, element)
        for part in template
    )


def _perform(call: Call, scope: Scope, element: Element) -> str:
    values = [evaluate(argument, scope, element) for argument in call.arguments]
    if call.name == 'var':
        return _lookup('launch configuration', values, scope.configurations, element)
    if call.name == 'env':
        return _lookup('environment variable', values, scope.environment, element)
    if call.name == 'equals':
        return 'true' if _equal(values[0], values[1]) else 'false'
    if call.name == 'find-pkg-share':
        try:
            return str(share_directory(values[0]))
        except ConfigurationError as error:
            raise element.error(str(error)) from error
    if scope.directory is None:
        raise element.error('$(dirname) is not known here.')
    return str(scope.directory)


def _lookup(kind: str, values: list[str], table: Mapping[str, str], element: Element) -> str:
    if values[0] in table:
        return table[values[0]]
    if len(values) == 2:
        return values[1]
    hint = f'; {nearest(values[0], table)}' if kind == 'launch configuration' and table else '.'
    raise element.error(f'{kind} {values[0]!r} does not exist{hint}')


def _equal(left: str, right: str) -> bool:
    """Equality as upstream has it: as truth values, else as numbers, else as texts."""
    truths = ('true', 'false', '1', '0')
    if left.lower() in truths and right.lower() in truths:
        return (left.lower() in ('true', '1')) == (right.lower() in ('true', '1'))
    try:
        return math.isclose(float(left), float(right))
    except ValueError:
        return left == right


def describe(template: Template) -> str:
    """A template as `--show-args` prints it."""
    return ' + '.join(_describe_part(part) for part in template)


def _describe_part(part: Text | Call) -> str:
    if isinstance(part, Text):
        return f"'{part.value}'"
    first = describe(part.arguments[0]) if part.arguments else ''
    if part.name == 'var':
        return f'LaunchConfig({first})'
    if part.name == 'env':
        return f'EnvVar({first})'
    if part.name == 'find-pkg-share':
        return f'FindPackageShare(pkg={first})'
    if part.name == 'equals':
        return f'EqualsSubstitution({first} {describe(part.arguments[1])})'
    return 'ThisLaunchFileDir()'
