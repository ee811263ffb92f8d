# SPDX-License-Identifier: Apache-2.0
"""`$(name argument ...)` in attribute texts, and the types of parameters.

The grammar is that of upstream `launch`: arguments are separated by one space, may hold nested
substitutions, and may be quoted to hold spaces or nothing. Backslash escapes are refused. As
upstream, a text is read whole before anything is looked up, and the default of `$(var)` is looked
up only where it is needed.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from deft_bringup.launching.document import Element
from deft_bringup.packages import share_directory
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError
from deft_core.files import parse_yaml

_NAME: Final = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')
_MOST_SUBSTITUTIONS: Final = 50  # in one text, beside or within one another
_SUBSTITUTIONS: Final = ('env', 'equals', 'find-pkg-share', 'var')
# Upstream compares these as the text []: only a variable that is empty is equal to an empty one.
_NOTHING: Final = ("''", '""')
_TRUTHS: Final = {'true': True, '1': True, 'false': False, '0': False}
_TYPES: Final = {'bool': bool, 'float': float, 'int': int, 'str': str}

Value = bool | int | float | str
_Text = Callable[[], str]  # gives a text once it is asked for


@dataclass
class Scope:
    """What substitutions can see: launch configurations and environment variables."""

    configurations: dict[str, str]
    environment: Mapping[str, str]


def substitute(text: str, scope: Scope, element: Element) -> str:
    """Text of an attribute with its substitutions made.

    Raises:
        ConfigurationError: The text is not well formed, or names something that does not exist.
    """
    if '\\' in text:
        raise element.error(f'backslash escapes are not supported, got {text!r}.')
    if text.count('$(') > _MOST_SUBSTITUTIONS:
        raise element.error(f'more than {_MOST_SUBSTITUTIONS} substitutions in one text.')
    return _Reader(text, scope, element).text('', '')()


class _Reader:
    """Recursive descent over one text."""

    def __init__(self, text: str, scope: Scope, element: Element) -> None:
        self._text = text
        self._scope = scope
        self._element = element
        self._position = 0

    def text(self, ends: str, quote: str) -> _Text:
        """What stands before one of the characters `ends` or the end of all."""
        parts: list[str | _Text] = []
        while self._position < len(self._text) and self._text[self._position] not in ends:
            if self._text.startswith('$(', self._position):
                parts.append(self._call(quote))
            else:
                parts.append(self._text[self._position])
                self._position += 1
        return lambda: ''.join(part if isinstance(part, str) else part() for part in parts)

    def _call(self, quote: str) -> _Text:
        self._position += len('$(')
        match = _NAME.match(self._text, self._position)
        if match is None:
            self._refuse('a substitution needs a name')
        self._position = match.end()
        arguments = []
        while self._skip(' '):
            start = self._position
            arguments.append(self._argument(quote))
            if match.group() == 'equals' and self._text[start : self._position] in _NOTHING:
                arguments[-1] = lambda: '[]'
        if not self._skip(')'):
            self._refuse('expected a space or a closing bracket')
        return self._value(match.group(), arguments)

    def _argument(self, quote: str) -> _Text:
        # Inside a quoted text no further quoting is possible, as in the upstream grammar.
        for mark in '\'"':
            if not quote and self._skip(mark):
                argument = self.text(mark, mark)
                if not self._skip(mark):
                    self._refuse('missing closing quote')
                return argument
        start = self._position
        argument = self.text(' ()' + (quote or '\'"'), quote)
        if self._position == start:
            self._refuse('expected an argument')
        return argument

    def _skip(self, character: str) -> bool:
        found = self._text.startswith(character, self._position)
        self._position += found
        return found

    def _refuse(self, reason: str) -> NoReturn:
        raise self._element.error(f'{reason} at column {self._position + 1} of {self._text!r}.')

    def _value(self, name: str, arguments: list[_Text]) -> _Text:
        match name, arguments:
            case 'var', [key, *default] if len(default) <= 1:
                return lambda: self._variable(key(), default)
            case 'env', [key, *default] if len(default) <= 1:
                return lambda: self._environment(key(), *(text() for text in default))
            case 'equals', [left, right]:
                return lambda: 'true' if _equal(left(), right()) else 'false'
            case 'find-pkg-share', [package]:
                return lambda: self._share(package())
        if name in _SUBSTITUTIONS:
            raise self._element.error(f'$({name}) cannot take {len(arguments)} argument(s).')
        raise self._element.error(
            f'the substitution $({name}) is not supported; {nearest(name, _SUBSTITUTIONS)}'
        )

    def _variable(self, name: str, default: list[_Text]) -> str:
        known = self._scope.configurations
        if name not in known and not default:
            raise self._element.error(
                f'launch configuration {name!r} does not exist; {nearest(name, known)}'
            )
        return known[name] if name in known else default[0]()

    def _environment(self, name: str, default: str | None = None) -> str:
        value = self._scope.environment.get(name, default)
        if value is None:
            raise self._element.error(f'environment variable {name!r} does not exist.')
        return value

    def _share(self, package: str) -> str:
        try:
            return str(share_directory(package))
        except ConfigurationError as error:
            raise self._element.error(str(error)) from error


def _equal(left: str, right: str) -> bool:
    """Equality as upstream has it: as truth values, else as numbers, else as texts."""
    if left.lower() in _TRUTHS and right.lower() in _TRUTHS:
        return _TRUTHS[left.lower()] == _TRUTHS[right.lower()]
    try:
        return math.isclose(float(left), float(right))
    except ValueError:
        return left == right


def truth(text: str, element: Element) -> bool:
    """Value of a condition: true, 1, false or 0 in any case, with white space around."""
    folded = text.strip().lower()
    if folded not in _TRUTHS:
        raise element.error(f'a condition must be true, 1, false or 0, got {text!r}.')
    return _TRUTHS[folded]


def parameter(element: Element, scope: Scope) -> Value:
    """Value of a `<param>` by the rules of upstream; without a type whatever YAML reads.

    Upstream reads YAML before substitutions are made, and afterwards what held some.
    """
    text, kind = element.attributes['value'], element.attributes.get('type')
    if kind is not None and kind not in _TYPES:
        raise element.error(f'unknown parameter type {kind!r}; {nearest(kind, _TYPES)}')
    value: object = text
    if kind in (None, 'bool'):
        with contextlib.suppress(ValueError, ConfigurationError):
            value = _read(text, kind)
    if isinstance(value, str):
        text = substitute(value, scope, element)
        try:
            value = _read(text, kind) if kind or '$(' in value else text
        except (ValueError, ConfigurationError):
            value = None
    if isinstance(value, bool | int | float | str) and type(value) is _TYPES.get(
        kind or '', type(value)
    ):
        return value
    name = element.attributes.get('name')
    raise element.error(f'the value of {name!r} must be a {kind or "plain value"}, got {text!r}.')


def _read(text: str, kind: str | None) -> object:
    if kind in ('int', 'float', 'str'):
        return _TYPES[kind](text)
    if kind == 'bool':
        text = {'1': 'true', '0': 'false'}.get(text, text)
    return parse_yaml(text, 'value') if text else text
