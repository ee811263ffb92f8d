# SPDX-License-Identifier: Apache-2.0
"""Runs the tags of a launch file and gives the processes to start.

Scoping is that of upstream `launch` in ROS 2 Jazzy, surprises included: what an included file sets
stays set after the include unless a group encloses it. Tags, attributes and substitutions that
our launch files do not use are refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from deft_bringup.launching.document import Element, read_document
from deft_bringup.launching.substitutions import Scope, parameter, substitute, truth
from deft_bringup.packages import executable_path
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError, shown
from deft_core.files import is_file

_CONDITIONS: Final = frozenset({'if', 'unless'})
_TAGS: Final = frozenset({'arg', 'let', 'group', 'include', 'node'})
_NODE_NAME: Final = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
_NAMESPACE: Final = re.compile(r'/|(/[A-Za-z_][A-Za-z0-9_]*)+')
_DEEPEST_INCLUDE: Final = 16  # a file that includes itself would never end
_MOST_FILES: Final = 100  # nor two that include each other twice
_MOST_TEXT: Final = 1_000_000  # characters of all values; each could double the one before
_INTEGERS: Final = range(-(2**63), 2**63)  # of ROS
_PARAMETER_NAME: Final = re.compile(r'[A-Za-z_][A-Za-z0-9_.]*')


class _Quoting(yaml.SafeDumper):
    """Puts every text in quotes: ROS' own reader takes 1e5, 0819312, y or nan without for another.

    Upstream does not, so that a node that declared a text refuses to start there.
    """


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text, style='"')
)


@dataclass(frozen=True)
class ProcessPlan:
    """A process of a launch."""

    label: str  # name and running number, as in `arm_node-4`; prefix of its output
    command: tuple[str, ...]  # program and arguments
    required: bool = False  # its end ends the whole launch
    # A program of another project: what it ends with after it was asked to stop says nothing; the
    # driver of xarm_ros2 ends with 255 then.
    foreign: bool = False


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Read `name:=value` texts; of two for one name the last one wins."""
    assignments: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition(':=')
        if not separator or not name or not value:
            raise ConfigurationError(
                f'Malformed launch argument {text!r}, expected the form <name>:=<value>.'
            )
        assignments[name] = value
    return assignments


def declared_arguments(file: Path, environment: Mapping[str, str]) -> dict[str, Element]:
    """`<arg>` tags by name: of a file, and of its includes whose path needs no argument."""
    found: dict[str, Element] = {}
    _collect(read_document(file), Scope({}, environment), found, {file})
    return found


def _collect(parent: Element, scope: Scope, found: dict[str, Element], files: set[Path]) -> None:
    for child in parent.children:
        if child.tag == 'arg':
            # The first declaration of a name is the one that counts.
            found.setdefault(child.attributes.get('name', ''), child)
        elif child.tag == 'group':
            _collect(child, scope, found, files)
        elif child.tag == 'include' and len(files) < _MOST_FILES:
            try:
                path = Path(substitute(child.attributes.get('file', ''), scope, child))
            except ConfigurationError:
                # Listing must work before anything is set; running the file reports what is wrong.
                continue
            if is_file(path) and path not in files:
                files.add(path)
                _collect(read_document(path), scope, found, files)


def check_known(assignments: Mapping[str, str], declared: Mapping[str, Element]) -> None:
    """Refuse an argument that nothing declares. Upstream accepts it silently."""
    for name in assignments:
        if name not in declared:
            hint = nearest(name, declared) if declared else 'the file takes none.'
            raise ConfigurationError(f'Unknown launch argument {name!r}; {hint}')


def listing(declared: Mapping[str, Element]) -> str:
    """Text of `--show-args`."""
    lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
    for name, element in declared.items():
        lines += ['', f"    '{name}':", f'        {_description(element)}']
        if element.children:
            lines.append(f'        one of: {_choices(element)}')
        if 'default' in element.attributes:
            lines.append(f"        (default: '{element.attributes['default']}')")
    return '\n'.join(lines) if declared else f'{lines[0]}\n\n  No arguments.'


def _description(element: Element) -> str:
    return ' '.join(element.attributes.get('description', 'no description given').split())


def _choices(element: Element) -> list[str]:
    return [child.attributes['value'] for child in element.children]


class Interpreter:
    """Executes one launch file."""

    def __init__(self, environment: Mapping[str, str], scratch: Path) -> None:
        """Parameter files go into `scratch`, which must live as long as the processes."""
        self._scope = Scope({}, environment)
        self._scratch = scratch
        self._plans: list[ProcessPlan] = []
        self._files_written = 0
        self._files_read = 0
        self._length = 0

    def run(self, file: Path, arguments: Mapping[str, str]) -> tuple[ProcessPlan, ...]:
        """What is to be started, in the order of the file.

        Raises:
            ConfigurationError: Anything is wrong with the file or the arguments.
        """
        for name, value in arguments.items():
            self._count(f'{name}:={value}')
        self._scope.configurations.update(arguments)
        self._file(file, 0)
        return tuple(self._plans)

    def _file(self, file: Path, depth: int) -> None:
        root = read_document(file)
        self._files_read += 1
        if self._files_read > _MOST_FILES:
            raise root.error(f'more than {_MOST_FILES} files are included.')
        root.expect(frozenset(), children=_TAGS)
        self._visit(root, depth)

    def _visit(self, parent: Element, depth: int) -> None:
        for element in parent.children:
            if not self._wanted(element):
                continue
            if element.tag == 'arg':
                self._declare(element)
            elif element.tag == 'let':
                element.expect({'name', 'value'}, _CONDITIONS)
                name = self._text('name', element)
                self._scope.configurations[name] = self._text('value', element)
            elif element.tag == 'group':
                element.expect(frozenset(), _CONDITIONS, _TAGS)
                before = dict(self._scope.configurations)
                self._visit(element, depth)
                self._scope.configurations = before
            elif element.tag == 'include':
                self._include(element, depth)
            else:
                self._node(element)

    def _wanted(self, element: Element) -> bool:
        if element.attributes.keys() >= _CONDITIONS:
            raise element.error("'if' and 'unless' cannot be used together.")
        for name in _CONDITIONS & element.attributes.keys():
            return truth(self._text(name, element), element) == (name == 'if')
        return True

    def _text(self, name: str, element: Element) -> str:
        text = substitute(element.attributes[name], self._scope, element)
        self._count(text)
        return text

    def _count(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MOST_TEXT:
            raise ConfigurationError(
                f'The values of a launch have more than {_MOST_TEXT} characters; '
                f'the last one begins with {text[:40]!r}.'
            )

    def _declare(self, element: Element) -> None:
        element.expect({'name'}, {'default', 'description', *_CONDITIONS}, {'choice'})
        for child in element.children:
            child.expect({'value'})
        name = element.attributes['name']
        known = self._scope.configurations
        if name not in known:
            if 'default' not in element.attributes:
                raise element.error(
                    f'the launch argument {name!r} is required ({_description(element)}): pass '
                    f'{name}:=<value>.'
                )
            known[name] = self._text('default', element)
        choices = _choices(element)
        if choices and known[name] not in choices:
            raise element.error(
                f'the launch argument {name!r} cannot be {known[name]!r}; '
                f'{nearest(known[name], choices)}'
            )

    def _include(self, element: Element, depth: int) -> None:
        element.expect({'file'}, _CONDITIONS, {'arg'})
        path = Path(self._text('file', element))
        if path.suffix != '.xml':
            raise element.error(
                f'only XML launch files can be included without ros2 launch, got {path}.'
            )
        if not is_file(path):
            raise element.error(f'the included file {path} does not exist.')
        if depth >= _DEEPEST_INCLUDE:
            raise element.error(f'{path} is included too deeply; does it include itself?')
        for child in element.children:
            child.expect({'name', 'value'})
            name = self._text('name', child)
            self._scope.configurations[name] = self._text('value', child)
        self._file(path, depth + 1)

    def _node(self, element: Element) -> None:
        # Upstream asks for no name and namespace; see `_parameter_files`.
        element.expect(
            {'pkg', 'exec', 'name', 'namespace'},
            {'output', 'on_exit', 'launch-prefix', *_CONDITIONS},
            {'param', 'remap'},
        )
        for name, only in (('output', 'screen'), ('on_exit', 'shutdown')):
            if element.attributes.get(name, only) != only:
                raise element.error(
                    f'{name} can only be {only!r}, got {element.attributes[name]!r}.'
                )
        try:
            package = self._text('pkg', element)
            program = executable_path(package, self._text('exec', element))
        except ConfigurationError as error:
            raise element.error(str(error)) from error
        name, namespace = self._text('name', element), self._text('namespace', element)
        if not _NODE_NAME.fullmatch(name):
            raise element.error(f'{name!r} is not a node name: letters, digits and _ only.')
        if not _NAMESPACE.fullmatch(namespace):
            raise element.error(f'{namespace!r} is not a namespace, such as /robot/left.')
        command = [str(program), '--ros-args', '-r', f'__node:={name}', '-r', f'__ns:={namespace}']
        if 'launch-prefix' in element.attributes:
            command = [*shlex.split(self._text('launch-prefix', element)), *command]
        for file in self._parameter_files(element, f'{namespace.rstrip("/")}/{name}'):
            command += ['--params-file', str(file)]
        for child in element.children:
            if child.tag == 'remap':
                child.expect({'from', 'to'})
                rule = f'{self._text("from", child)}:={self._text("to", child)}'
                command += ['-r', rule]
        label = f'{program.name}-{len(self._plans) + 1}'
        required, foreign = 'on_exit' in element.attributes, not package.startswith('deft_')
        self._plans.append(ProcessPlan(label, tuple(command), required, foreign))

    def _parameter_files(self, node: Element, full_name: str) -> Iterable[Path]:
        """Parameter files in the order of the tags; each `<param name>` gets one of its own.

        A rule for the full name wins over a wildcard, whatever their order: only because every
        node has a name and a namespace does an argument beat a file.
        """
        for element in node.children:
            if element.tag != 'param':
                continue
            if 'from' in element.attributes:
                element.expect({'from'})
                path = Path(self._text('from', element))
                # Upstream warns and goes on with the defaults: a wrong robot, silently.
                if not is_file(path):
                    raise element.error(f'the parameter file {path} does not exist.')
                yield path.absolute()
                continue
            element.expect({'name', 'value'}, {'type'})
            value = parameter(element, self._scope)
            rule = {full_name: {'ros__parameters': {self._text('name', element): value}}}
            ((name, number),) = rule[full_name]['ros__parameters'].items()
            if not _PARAMETER_NAME.fullmatch(name):
                raise element.error(
                    f'{name!r} is not the name of a parameter: letters, digits, _ and . only.'
                )
            if isinstance(number, int) and number not in _INTEGERS:
                raise element.error(f'{name!r} has {shown(number)}, more than 64 bits.')
            self._files_written += 1
            path = self._scratch / f'parameters_{self._files_written:03d}.yaml'
            path.write_text(yaml.dump(rule, Dumper=_Quoting), encoding='utf-8')
            yield path
