# SPDX-License-Identifier: Apache-2.0
"""Types of parameter values and attributes, by the coercion rules of upstream `launch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import yaml

from deft_bringup.launch_xml.document import Element
from deft_bringup.launch_xml.substitutions import Scope, Template, Text, evaluate, parse
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

Scalar = bool | int | float | str
Value = Scalar | list[Scalar]

_SCALARS: Final[dict[str, type[Scalar]]] = {
    'bool': bool,
    'float': float,
    'int': int,
    'str': str,
}
_LISTS: Final = {f'list_of_{name}': kind for name, kind in _SCALARS.items()}
# `yaml` and no type at all mean the same: whatever YAML reads.
_TYPES: Final = {*_SCALARS, *_LISTS, 'yaml'}


class _CoercionError(Exception):
    """A text is not of the wanted type; the caller knows file and line."""


@dataclass(frozen=True)
class ParameterValue:
    """A parameter value, its substitutions not yet evaluated.

    Attributes:
        content: Constant, template, or list of both.
        kind: Type name from the `type` attribute; None for YAML rules.
        element: The `<param>` tag.
    """

    content: Scalar | Template | list[Scalar | Template]
    kind: str | None
    element: Element

    def evaluate(self, scope: Scope) -> Value:
        """The value in a scope.

        Raises:
            ConfigurationError: A substitution fails or the result is of another type.
        """
        try:
            if isinstance(self.content, tuple):
                text = evaluate(self.content, scope, self.element)
                return _coerce(text, self.kind, keep_text=False)
            if not isinstance(self.content, list):
                return self.content
            item_kind = None if self.kind is None else self.kind.removeprefix('list_of_')
            items = [self._item(item, item_kind, scope) for item in self.content]
            if not _uniform(items, texts_too=False):
                raise _CoercionError('a list must hold one type')
            return items
        except _CoercionError as error:
            raise _refusal(self.element, str(error)) from error

    def _item(self, item: Scalar | Template, kind: str | None, scope: Scope) -> Scalar:
        if not isinstance(item, tuple):
            return item
        value = _coerce(evaluate(item, scope, self.element), kind, keep_text=False)
        if isinstance(value, list):
            raise _CoercionError('lists cannot be nested')
        return value


def parse_value(element: Element) -> ParameterValue:
    """Read `value` and `type` of a `<param>` tag.

    A value that holds a substitution is typed after substitution; any other one now.

    Raises:
        ConfigurationError: The type is unknown or the value is not of it.
    """
    kind = element.attributes.get('type')
    if kind is not None and kind not in _TYPES:
        raise element.error(f'unknown parameter type {kind!r}; {nearest(kind, _TYPES)}')
    kind = None if kind == 'yaml' else kind
    try:
        typed = _coerce(element.attributes['value'], kind, keep_text=True)
        content = _with_substitutions(typed, element)
        if not isinstance(content, tuple):
            _check_constant(content, kind)
    except _CoercionError as error:
        raise _refusal(element, str(error)) from error
    return ParameterValue(content, kind, element)


def _refusal(element: Element, reason: str) -> ConfigurationError:
    name = element.attributes.get('name', element.tag)
    return element.error(f'the value of {name!r} cannot be used: {reason}.')


def _with_substitutions(
    typed: Value, element: Element
) -> Scalar | Template | list[Scalar | Template]:
    if isinstance(typed, list):
        return [_text_or_template(item, element) for item in typed]
    return _text_or_template(typed, element)


def _text_or_template(value: Scalar, element: Element) -> Scalar | Template:
    if not isinstance(value, str):
        return value
    template = parse(value, element)
    if len(template) == 1 and isinstance(template[0], Text):
        return template[0].value
    return template


def _check_constant(content: Scalar | list[Scalar | Template], kind: str | None) -> None:
    """A constant (or constant list item) must have its type already."""
    constants = [
        item
        for item in (content if isinstance(content, list) else [content])
        if not isinstance(item, tuple)
    ]
    if not _uniform(constants, texts_too=False):
        raise _CoercionError('a list must hold one type')
    if kind is None:
        return
    wanted = _SCALARS[kind.removeprefix('list_of_')]
    for item in constants:
        if type(item) is not wanted:
            raise _CoercionError(f'{item!r} is not of the type {wanted.__name__}')


def _uniform(items: list[Scalar], *, texts_too: bool) -> bool:
    kinds = {type(item) for item in items}
    if texts_too:
        kinds.discard(str)
    return len(kinds) <= 1


def _coerce(text: str, kind: str | None, *, keep_text: bool) -> Value:
    """Turn a text into a value of a type.

    Args:
        text: Text to be read.
        kind: Type name, or None for whatever YAML reads.
        keep_text: Keep what cannot be converted as text, because it may hold substitutions.

    Raises:
        _CoercionError: The text is not of the type.
    """
    if kind == 'str':
        return text
    if kind in ('int', 'float'):
        return _number(text, kind, keep_text=keep_text)
    if kind == 'bool':
        text = {'1': 'true', '0': 'false'}.get(text, text)
    value = _from_yaml(text, keep_text=keep_text)
    if kind == 'bool':
        if isinstance(value, bool) or (keep_text and isinstance(value, str)):
            return value
        raise _CoercionError(f'{text!r} is not of the type bool')
    if kind is not None:
        wanted = _LISTS[kind]
        if not isinstance(value, list) or not all(
            type(item) is wanted or (keep_text and isinstance(item, str)) for item in value
        ):
            raise _CoercionError(f'{text!r} is not of the type {kind}')
    return value


def _number(text: str, kind: str, *, keep_text: bool) -> Scalar:
    try:
        return int(text) if kind == 'int' else float(text)
    except ValueError as error:
        if keep_text:
            return text
        raise _CoercionError(f'{text!r} is not of the type {kind}') from error


def _from_yaml(text: str, *, keep_text: bool) -> Value:
    if not text:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if keep_text:
            return text
        raise _CoercionError(f'{text!r} is not YAML') from error
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(i, bool | int | float | str) for i in value):
        if not _uniform(value, texts_too=keep_text):
            raise _CoercionError(f'the list {text!r} must hold one type')
        return value
    raise _CoercionError(
        f'{text!r} is neither a number, a truth value, a text nor a list of those'
    )


def truth(text: str, element: Element) -> bool:
    """Value of a condition: true, 1, false or 0 in any case, with white space around.

    Raises:
        ConfigurationError: Anything else, the empty text included.
    """
    folded = text.strip().lower()
    if folded in ('true', '1'):
        return True
    if folded in ('false', '0'):
        return False
    raise element.error(f'a condition must be true, 1, false or 0, got {text!r}.')


def attribute_truth(name: str, element: Element, *, default: bool) -> bool:
    """A constant truth value in an attribute, such as `scoped`."""
    text = element.attributes.get(name)
    return default if text is None else truth(text, element)


def attribute_number(name: str, element: Element) -> float | None:
    """A constant, non-negative number of seconds in an attribute, such as `respawn_delay`.

    Raises:
        ConfigurationError: It is not a finite number of at least zero.
    """
    text = element.attributes.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise element.error(f'{name!r} must be a number, got {text!r}.') from error
    if not 0.0 <= value < float('inf'):
        raise element.error(f'{name!r} must be at least 0, got {text!r}.')
    return value
