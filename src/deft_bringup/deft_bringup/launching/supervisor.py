# SPDX-License-Identifier: Apache-2.0
"""Starts the processes of a launch, shows their output and lets the guardian stop them together.

One thread: children are started, read and reaped in the same place, so no lock is needed.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, Final, TextIO

from deft_bringup.launching.guardian import Guardian, StopLimits, end_with_launch
from deft_bringup.launching.interpreter import ProcessPlan
from deft_core.errors import ConfigurationError

_CHUNK: Final = 1024 * 1024  # more than a pipe holds
_TICK_S: Final = 0.1
_PATIENCE_AFTER_SIGKILL_S: Final = 2.0  # what survives it is stuck in a driver
_USER_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Bright enough on dark and light terminals: cyan, green, yellow, blue, magenta, bright cyan.
_COLOURS: Final = ('36', '32', '33', '34', '35', '96')


@dataclass(frozen=True)
class Result:
    """How a launch ended."""

    exit_code: int  # exit code for the shell
    sentence: str  # what happened first; empty when all went well


@dataclass
class _Child:
    plan: ProcessPlan
    process: subprocess.Popen[bytes]
    streams: list[_Stream] = field(default_factory=list)
    last_error: str = ''
    ended: bool = False


@dataclass
class _Stream:
    child: _Child
    pipe: IO[bytes]
    is_error: bool
    rest: bytes = b''


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Colour only on a terminal, and never when `NO_COLOR` is set to anything."""
    return stream.isatty() and not environment.get('NO_COLOR')


class Supervisor:
    """Runs the processes of one launch to their end."""

    def __init__(
        self, screen: TextIO, *, colour: bool = False, limits: StopLimits | None = None
    ) -> None:
        """Lines go to `screen`, with coloured prefixes where wanted."""
        self._screen: TextIO | None = screen
        self._colours: dict[str, str] | None = {} if colour else None
        self._guardian = Guardian(limits or StopLimits())
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []
        self._signals: list[int] = []
        self._user_signal: int | None = None
        self._stopping = False
        self._abandon_at: float | None = None
        self._failure: tuple[_Child, int] | None = None
        self._failed_first = False

    def run(self, plans: Sequence[ProcessPlan], environment: Mapping[str, str]) -> Result:
        """Start everything and wait until everything has ended.

        Raises:
            ConfigurationError: A program cannot be started; what runs already is stopped before.
        """
        # Installed before the first start, so that no signal can find children without an owner.
        previous = {number: signal.signal(number, self._on_signal) for number in _USER_SIGNALS}
        refusal: ConfigurationError | None = None
        try:
            for plan in plans:
                self._take_signals()
                if not self._stopping:
                    refusal = self._start(plan, environment)
            while not self._is_over():
                for key, _ in self._selector.select(_TICK_S):
                    self._read(key.data)
                self._take_signals()
                for child in self._children:
                    self._reap(child)
        finally:
            self._guardian.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._selector.close()
        if refusal is not None:
            raise refusal
        return self._result()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _start(
        self, plan: ProcessPlan, environment: Mapping[str, str]
    ) -> ConfigurationError | None:
        try:
            process = subprocess.Popen(
                plan.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=self._guardian.group,
                preexec_fn=end_with_launch,  # noqa: PLW1509 (there is one thread)
            )
        except OSError as error:
            self._stop(f'{plan.label} cannot be started')
            return ConfigurationError(
                f'Cannot start {plan.label} ({plan.command[0]}): {error.strerror}.'
            )
        child = _Child(plan, process)
        self._children.append(child)
        self._print('launch', f'{plan.label}: process started with pid {process.pid}')
        assert process.stdout is not None
        assert process.stderr is not None
        for pipe, is_error in ((process.stdout, False), (process.stderr, True)):
            os.set_blocking(pipe.fileno(), False)
            child.streams.append(_Stream(child, pipe, is_error))
            self._selector.register(pipe, selectors.EVENT_READ, child.streams[-1])
        return None

    def _is_over(self) -> bool:
        """Whether nothing is left; what a guardian killed at its work leaves is killed."""
        if self._guardian.renew():
            self._print('launch', 'the guardian of the nodes was killed; another one took over')
        living = [child.plan.label for child in self._children if not child.ended]
        if not living:
            self._guardian.stop()  # the children of the nodes may still be there
        if not self._guardian.has_ended():
            return False
        if living and self._abandon_at is None:
            self._guardian.kill_group()
            self._abandon_at = time.monotonic() + _PATIENCE_AFTER_SIGKILL_S
        elif living and self._abandon_at is not None and time.monotonic() > self._abandon_at:
            self._print('launch', f'{", ".join(living)}: still there after SIGKILL, given up')
            return True
        return not living

    def _take_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            name = signal.Signals(number).name
            if self._user_signal is None:
                self._user_signal = number
                self._stop(f'received {name}')
            else:
                self._print('launch', f'{name} again: still stopping')

    def _stop(self, reason: str) -> None:
        if not self._stopping:
            self._stopping = True
            self._print('launch', f'{reason}: stopping everything')
            self._guardian.stop()

    def _reap(self, child: _Child) -> None:
        if child.ended or child.process.poll() is None:
            return
        child.ended = True
        # What the process wrote last is still in the pipes, which its children may hold open.
        for stream in child.streams:
            if not stream.pipe.closed:
                self._read(stream)
            if not stream.pipe.closed:
                self._close(stream)
        code = child.process.returncode
        self._print('launch', f'{child.plan.label}: process has ended, {_describe(code)}')
        # Death by the SIGINT that we sent is how a program without a handler obeys.
        obeyed = self._stopping and (
            child.plan.foreign or code in (-signal.SIGINT, 128 + signal.SIGINT)
        )
        if code != 0 and not obeyed and self._failure is None:
            self._failure = (child, code)
            self._failed_first = not self._stopping
        if child.plan.required:
            self._stop(f'{child.plan.label} has ended')

    def _read(self, stream: _Stream) -> None:
        try:
            data = os.read(stream.pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._close(stream)
            return
        *lines, stream.rest = (stream.rest + data).split(b'\n')
        for line in lines:
            self._show(stream, line)

    def _close(self, stream: _Stream) -> None:
        if stream.rest:
            self._show(stream, stream.rest)
        self._selector.unregister(stream.pipe)
        stream.pipe.close()

    def _show(self, stream: _Stream, line: bytes) -> None:
        text = line.decode('utf-8', errors='replace').rstrip('\r')
        if stream.is_error and text.strip():
            stream.child.last_error = text.strip()
        self._print(stream.child.plan.label, text)

    def _print(self, label: str, text: str) -> None:
        if self._screen is None:
            return
        prefix = f'[{label}]'
        if self._colours is not None:
            colour = _COLOURS[len(self._colours) % len(_COLOURS)]
            prefix = f'\x1b[{self._colours.setdefault(label, colour)}m{prefix}\x1b[0m'
        try:
            self._screen.write(f'{prefix} {text}\n')
            self._screen.flush()
        except BrokenPipeError:  # nobody reads any more: end as if told so
            self._screen = None
            self._signals.append(signal.SIGPIPE)

    def _result(self) -> Result:
        if self._failure is not None and (self._failed_first or self._user_signal is None):
            child, code = self._failure
            said = f' Its last words: {child.last_error}' if child.last_error else ''
            return Result(
                _shell_code(code), f'{child.plan.label} failed: {_describe(code)}.{said}'
            )
        if self._user_signal is not None:
            name = signal.Signals(self._user_signal).name
            return Result(128 + self._user_signal, f'The launch was stopped by {name}.')
        return Result(0, '')


def _shell_code(code: int) -> int:
    """Exit code as a shell reports it: 128 + n for death by signal n."""
    return 128 - code if code < 0 else code


def _describe(code: int) -> str:
    if code < 0:
        return f'killed by {signal.Signals(-code).name} (exit code {_shell_code(code)})'
    return f'exit code {code}'
