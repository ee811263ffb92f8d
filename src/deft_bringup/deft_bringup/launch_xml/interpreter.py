# SPDX-License-Identifier: Apache-2.0
"""Runs the tags of a launch file and gives the processes to start.

Scoping is that of upstream `launch` in ROS 2 Jazzy, surprises included: what an included file sets
stays set after the include unless a group encloses it, and `$(dirname)` keeps naming the folder
of the file that was included last.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, cast

import yaml

from deft_bringup.launch_xml.actions import (
    Action,
    Argument,
    Executable,
    Group,
    Include,
    Let,
    Node,
    ParameterFile,
    ProcessOptions,
    parse_file,
)
from deft_bringup.launch_xml.arguments import DEEPEST_INCLUDE, check_required, declarations
from deft_bringup.launch_xml.document import Element
from deft_bringup.launch_xml.substitutions import Call, Scope, Template, Text, evaluate
from deft_bringup.launch_xml.values import truth
from deft_bringup.packages import check_namespace, check_node_name, executable_path
from deft_bringup.process import Output, ProcessPlan
from deft_core.configuration import nearest
from deft_core.errors import ConfigurationError

_OUTPUTS: Final = ('screen', 'log', 'both')


class Interpreter:
    """Executes one launch file.

    Attributes:
        processes: What is to be started, in the order of the file.
    """

    def __init__(self, environment: Mapping[str, str], scratch: Path) -> None:
        """Create an interpreter.

        Args:
            environment: Environment variables that `$(env)` sees.
            scratch: An existing folder for the parameter files made from `<param>` tags. It must
                live as long as the processes.
        """
        self.processes: list[ProcessPlan] = []
        self._scope = Scope({}, environment)
        self._scratch = scratch
        self._depth = 0
        self._files_written = 0

    def run(self, file: Path, arguments: Mapping[str, str]) -> tuple[ProcessPlan, ...]:
        """Execute a launch file.

        Args:
            file: The launch file.
            arguments: Launch arguments by name.

        Raises:
            ConfigurationError: Anything is wrong with the file or the arguments.
        """
        check_required(arguments, declarations(file, self._scope.environment))
        self._scope.configurations.update(arguments)
        self._enter(file)
        return tuple(self.processes)

    def _enter(self, file: Path) -> None:
        self._scope.directory = file.absolute().parent
        self._depth += 1
        self._visit(parse_file(file))
        self._depth -= 1

    def _visit(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if self._wanted(action):
                self._execute(action)

    def _wanted(self, action: Action) -> bool:
        if action.condition is None:
            return True
        predicate = self._text(action.condition.predicate, action.element)
        return truth(predicate, action.element) != action.condition.negated

    def _text(self, template: Template, element: Element) -> str:
        return evaluate(template, self._scope, element)

    def _execute(self, action: Action) -> None:
        if isinstance(action, Argument):
            self._declare(action)
        elif isinstance(action, Let):
            name = self._text(action.name, action.element)
            self._scope.configurations[name] = self._text(action.value, action.element)
        elif isinstance(action, Group):
            before = dict(self._scope.configurations)
            self._visit(action.actions)
            if action.scoped:
                self._scope.configurations = before
        elif isinstance(action, Include):
            self._include(action)
        elif isinstance(action, Node):
            self._node(action)
        elif isinstance(action, Executable):
            command = self._words(action.command, action.element)
            self._add(action, command, action.label, action.options)

    def _declare(self, argument: Argument) -> None:
        element = argument.element
        known = self._scope.configurations
        if argument.name not in known:
            if argument.default is None:
                raise element.error(
                    f'the launch argument {argument.name!r} is required ({argument.description}).'
                )
            known[argument.name] = self._text(argument.default, element)
        value = known[argument.name]
        if argument.choices and value not in argument.choices:
            raise element.error(
                f'the launch argument {argument.name!r} cannot be {value!r}; '
                f'{nearest(value, argument.choices)}'
            )

    def _include(self, include: Include) -> None:
        element = include.element
        path = Path(self._text(include.file, element))
        if path.suffix != '.xml':
            raise element.error(
                f'only XML launch files can be included without ros2 launch, got {path}.'
            )
        if not path.is_file():
            raise element.error(f'the included file {path} does not exist.')
        if self._depth >= DEEPEST_INCLUDE:
            raise element.error(f'{path} is included too deeply; does it include itself?')
        # From here on $(dirname) is the folder of the included file, in the arguments too.
        self._scope.directory = path.absolute().parent
        names = [self._text(name, element) for name, _ in include.arguments]
        place = f'{element.file}:{element.line}: '
        check_required(names, declarations(path, self._scope.environment), place)
        for name, value in include.arguments:
            text = self._text(value, element)
            self._scope.configurations[self._text(name, element)] = text
        self._enter(path)

    def _node(self, node: Node) -> None:
        element = node.element
        package = self._text(node.package, element)
        executable = self._text(node.executable, element)
        try:
            program = executable_path(package, executable)
            name = None if node.name is None else check_node_name(self._text(node.name, element))
            namespace = self._namespace(node)
        except ConfigurationError as error:
            raise element.error(str(error)) from error
        command = [str(program)]
        if node.arguments is not None:
            command += self._words(node.arguments, element)
        if node.ros_arguments is not None:
            command += ['--ros-args', *self._words(node.ros_arguments, element)]
        command.append('--ros-args')
        if name is not None:
            command += ['-r', f'__node:={name}']
        if namespace is not None:
            command += ['-r', f'__ns:={namespace}']
        for file in self._parameter_files(node, name, namespace):
            command += ['--params-file', str(file)]
        for source, target in node.remappings:
            rule = f'{self._text(source, element)}:={self._text(target, element)}'
            command += ['-r', rule]
        self._add(node, command, node.label, node.options)

    def _namespace(self, node: Node) -> str | None:
        base = self._scope.configurations.get('ros_namespace')
        own = None if node.namespace is None else self._text(node.namespace, node.element)
        joined = own
        if own is None:
            joined = base
        elif base and not own.startswith('/'):
            joined = f'{base.rstrip("/")}/{own}'
        if joined is None:
            return None
        if joined != '/':
            joined = '/' + joined.strip('/')
        return check_namespace(joined)

    def _parameter_files(
        self, node: Node, name: str | None, namespace: str | None
    ) -> Iterable[Path]:
        """Parameter files in the order of the tags; each `<param name>` gets one of its own."""
        # A rule for the full name wins over a wildcard, whatever their order. So launch files
        # give every node a name and a namespace: only then does an argument beat a file.
        known = name is not None and namespace is not None
        rule = f'{(namespace or "").rstrip("/")}/{name}' if known else '/**'
        for parameter in node.parameters:
            if isinstance(parameter, ParameterFile):
                path = Path(self._text(parameter.file, parameter.element))
                # Upstream warns and goes on with the defaults: a wrong robot, silently.
                if not path.is_file():
                    raise parameter.element.error(f'the parameter file {path} does not exist.')
                yield path.absolute()
                continue
            key = self._text(parameter.name, node.element)
            value = parameter.value.evaluate(self._scope)
            self._files_written += 1
            path = self._scratch / f'parameters_{self._files_written:03d}.yaml'
            content = yaml.safe_dump({rule: {'ros__parameters': {key: value}}})
            path.write_text(content, encoding='utf-8')
            yield path

    def _words(self, template: Template, element: Element) -> list[str]:
        """Split a command line as upstream does: literal text at spaces, substitutions never."""
        try:
            words = _split(template)
        except ValueError as error:
            raise element.error(f'a command line has unbalanced quotes: {error}.') from error
        return [''.join(self._text((part,), element) for part in word) for word in words]

    def _add(
        self, action: Action, command: list[str], label: Template | None, options: ProcessOptions
    ) -> None:
        element = action.element
        name = Path(command[0]).name if label is None else self._text(label, element)
        output = self._text(options.output, element)
        if output not in _OUTPUTS:
            raise element.error(f'unknown output {output!r}; {nearest(output, _OUTPUTS)}')
        environment = {
            self._text(key, element): self._text(value, element)
            for key, value in options.environment
        }
        self.processes.append(
            ProcessPlan(
                label=f'{name}-{len(self.processes) + 1}',
                command=tuple(command),
                environment=environment,
                cwd=None if options.cwd is None else self._text(options.cwd, element),
                output=cast(Output, output),
                required=options.required,
                respawn=truth(self._text(options.respawn, element), element),
                respawn_delay=options.respawn_delay,
                respawn_max_retries=options.respawn_max_retries,
            )
        )


def _split(template: Template) -> list[list[Text | Call]]:
    """Words of a command line, each a list of parts that belong together."""
    words: list[list[Text | Call]] = []
    word: list[Text | Call] = []
    for part in template:
        if isinstance(part, Call):
            word.append(part)
            continue
        tokens = shlex.split(part.value)
        if not tokens:
            # Nothing but spaces ends a word. At the beginning that word is empty, as upstream.
            words.append(word)
            word = []
            continue
        if part.value[0].isspace() and word:
            words.append(word)
            word = []
        for index, token in enumerate(tokens):
            if index:
                words.append(word)
                word = []
            word.append(Text(token))
        if part.value[-1].isspace():
            words.append(word)
            word = []
    if word:
        words.append(word)
    return words
