# SPDX-License-Identifier: Apache-2.0
"""Launch arguments: reading `name:=value`, finding declarations, listing and checking them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deft_bringup.launch_xml.actions import Action, Argument, Group, Include, parse_file
from deft_bringup.launch_xml.substitutions import Scope, Text, describe, evaluate
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

# A file that includes itself would never end.
DEEPEST_INCLUDE: Final = 16


@dataclass(frozen=True)
class Declaration:
    """An argument that a launch file or one of its includes declares.

    Attributes:
        argument: The `<arg>` tag.
        conditional: It or what holds it has a condition, so it may not be read.
        supplied: Names that the includes on the way to it pass on.
    """

    argument: Argument
    conditional: bool
    supplied: frozenset[str]


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Read `name:=value` texts; of two for one name the last one wins.

    Raises:
        ConfigurationError: A text is not of this form or its value is empty.
    """
    assignments: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition(':=')
        if not separator or not name or not value:
            raise ConfigurationError(
                f'Malformed launch argument {text!r}, expected the form <name>:=<value>.'
            )
        assignments[name] = value
    return assignments


def declarations(file: Path, environment: Mapping[str, str]) -> list[Declaration]:
    """Arguments declared by a file and by the includes that can be found without running it.

    Args:
        file: A launch file.
        environment: Environment variables for `$(env)` in the paths of includes.

    Raises:
        ConfigurationError: The file or an include that was found cannot be read.
    """
    found: dict[str, Declaration] = {}
    _collect(parse_file(file), file, environment, found, False, frozenset(), 0)
    return list(found.values())


def _collect(
    actions: Iterable[Action],
    file: Path,
    environment: Mapping[str, str],
    found: dict[str, Declaration],
    conditional: bool,
    supplied: frozenset[str],
    depth: int,
) -> None:
    for action in actions:
        # As upstream, only the next enclosing group or include counts: in a conditional group an
        # include without a condition of its own makes its arguments unconditional.
        behind = action.condition is not None
        if isinstance(action, Argument):
            # The first declaration of a name is the one that counts.
            found.setdefault(action.name, Declaration(action, conditional or behind, supplied))
        elif isinstance(action, Group):
            _collect(action.actions, file, environment, found, behind, supplied, depth)
        elif isinstance(action, Include) and depth < DEEPEST_INCLUDE:
            included = _included_file(action, file, environment)
            if included is None:
                continue
            names = supplied | {
                part.value
                for name, _ in action.arguments
                for part in name
                if isinstance(part, Text)
            }
            _collect(parse_file(included), included, environment, found, behind, names, depth + 1)


def _included_file(include: Include, file: Path, environment: Mapping[str, str]) -> Path | None:
    """Path of an include, or None where it depends on arguments or is not installed."""
    scope = Scope({}, environment, file.parent)
    try:
        path = Path(evaluate(include.file, scope, include.element))
    except ConfigurationError:
        # Listing must work before anything is set; running the file reports what is wrong.
        return None
    return path if path.is_file() and path.suffix == '.xml' else None


def check_known(assignments: Mapping[str, str], declared: Iterable[Declaration]) -> None:
    """Refuse an argument that nothing declares. Upstream accepts it silently.

    Raises:
        ConfigurationError: With the nearest declared name.
    """
    names = {declaration.argument.name for declaration in declared}
    for name in assignments:
        if name not in names:
            hint = nearest(name, names) if names else 'the file takes none.'
            raise ConfigurationError(f'Unknown launch argument {name!r}; {hint}')


def check_required(
    given: Iterable[str], declared: Iterable[Declaration], include: str = ''
) -> None:
    """Refuse a missing argument that has no default.

    Args:
        given: Names that are passed.
        declared: What the file declares.
        include: Place of the include, for the message; empty for the file itself.

    Raises:
        ConfigurationError: An argument without a default is not given.
    """
    names = frozenset(given)
    for declaration in declared:
        argument = declaration.argument
        if declaration.conditional or argument.default is not None:
            continue
        if argument.name not in names | declaration.supplied:
            raise ConfigurationError(
                f'{include}The launch argument {argument.name!r} is required '
                f'({argument.description}): pass {argument.name}:=<value>.'
            )


def listing(declared: Iterable[Declaration]) -> str:
    """Text of `--show-args`, as `ros2 launch` prints it."""
    lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
    any_conditional = False
    for declaration in declared:
        argument = declaration.argument
        any_conditional |= declaration.conditional
        lines += [
            '',
            f"    '{argument.name}':{'*' if declaration.conditional else ''}",
            f'        {argument.description}',
        ]
        if argument.default is not None:
            lines.append(f'        (default: {describe(argument.default)})')
    if len(lines) == 1:
        lines += ['', '  No arguments.']
    elif any_conditional:
        lines += ['', '* argument(s) which are only used if specific conditions occur']
    return '\n'.join(lines)
