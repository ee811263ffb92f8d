# SPDX-License-Identifier: Apache-2.0
"""Starts the processes of a launch, shows their output and stops them all together.

One thread, one selector: children are forked, read and reaped in the same place, so no lock is
needed. Every process leads a process group of its own; signals go to whole groups, because a node
may have children (the session trains in one).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, Final

from deft_bringup.process import ProcessPlan
from deft_bringup.supervision.groups import adopt_orphans, reap_orphans, signal_group
from deft_bringup.supervision.guardian import Guardian, StopLimits, register
from deft_bringup.supervision.screen import Screen
from deft_core.errors import ConfigurationError

_CHUNK: Final = 65536
_IDLE_S: Final = 0.1
_USER_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Result:
    """How a launch ended.

    Attributes:
        exit_code: Exit code for the shell.
        sentence: What happened first; empty when all went well.
    """

    exit_code: int
    sentence: str


@dataclass
class _Child:
    """A process that was started, or waits to be started again."""

    plan: ProcessPlan
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    retries: int = 0
    restart_at: float | None = None
    partial: dict[int, bytes] = field(default_factory=dict)
    last_error: str = ''


def shell_code(code: int) -> int:
    """Exit code as a shell reports it: 128 + n for death by signal n."""
    return 128 - code if code < 0 else code


def describe_code(code: int) -> str:
    """Exit code in words."""
    if code < 0:
        return f'killed by {signal.Signals(-code).name} (exit code {shell_code(code)})'
    return f'exit code {code}'


class Supervisor:
    """Runs the processes of one launch to their end."""

    def __init__(
        self,
        plans: Sequence[ProcessPlan],
        screen: Screen,
        environment: Mapping[str, str],
        limits: StopLimits | None = None,
    ) -> None:
        """Create a supervisor.

        Args:
            plans: Processes in the order of their start.
            screen: Where their lines go.
            environment: Environment of all of them.
            limits: Escalation times of a stop; by default 5 s to SIGTERM and 10 s to SIGKILL.
        """
        self._children = [_Child(plan) for plan in plans]
        self._screen = screen
        self._environment = dict(environment)
        self._limits = limits or StopLimits()
        self._selector = selectors.DefaultSelector()
        self._groups: dict[int, str] = {}
        self._received: list[int] = []
        self._stop_start: float | None = None
        self._escalated = 0
        self._user_signal: int | None = None
        self._failure: tuple[str, int, str] | None = None
        self._failed_first = False
        self._guardian: Guardian | None = None

    def run(self) -> Result:
        """Start everything and wait until everything has ended.

        Raises:
            ConfigurationError: A program cannot be started; what runs already is stopped before.
        """
        adopt_orphans()
        self._guardian = Guardian(self._limits)
        waker, wakened = socket.socketpair()
        waker.setblocking(False)
        wakened.setblocking(False)
        self._selector.register(wakened, selectors.EVENT_READ, partial(_drain, wakened))
        # Installed before the first start, so that no signal can find children without an owner.
        previous: dict[int, Any] = {
            number: signal.signal(number, self._on_signal)
            for number in (*_USER_SIGNALS, signal.SIGCHLD)
        }
        previous_waker = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            error = self._start_all()
            while self._busy():
                self._step()
            if error is not None:
                raise error
            return self._result()
        finally:
            signal.set_wakeup_fd(previous_waker)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._guardian.close()
            self._selector.close()
            waker.close()
            wakened.close()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._received.append(number)

    def _start_all(self) -> ConfigurationError | None:
        for child in self._children:
            self._take_signals()
            if self._stop_start is not None:
                return None
            try:
                self._start(child)
            except OSError as error:
                self._stop(f'{child.plan.label} cannot be started')
                return ConfigurationError(
                    f'Cannot start {child.plan.label} ({child.plan.command[0]}): {error.strerror}.'
                )
        return None

    def _start(self, child: _Child) -> None:
        assert self._guardian is not None
        plan = child.plan
        process = subprocess.Popen(
            plan.command,
            env={**self._environment, **plan.environment},
            cwd=plan.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            # Runs between fork and exec: one write, no allocation of locks. There are no threads.
            preexec_fn=partial(register, self._guardian.pipe),  # noqa: PLW1509
        )
        child.process = process
        child.code = None
        child.restart_at = None
        self._groups[process.pid] = plan.label
        self._screen_message(f'{plan.label}: process started with pid {process.pid}')
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                reader = partial(self._read, child, stream.fileno(), stream is process.stderr)
                self._selector.register(stream, selectors.EVENT_READ, reader)

    def _step(self) -> None:
        for key, _ in self._selector.select(self._wait_s()):
            action: Callable[[], None] = key.data
            action()
        self._take_signals()
        for child in self._children:
            self._reap(child)
        self._forget_empty_groups()
        self._restart()
        self._escalate()

    def _wait_s(self) -> float | None:
        """Until something may happen that no file descriptor announces."""
        leaders = {c.process.pid for c in self._children if c.process is not None}
        waiting = any(child.restart_at is not None for child in self._children)
        timed = self._stop_start is not None or waiting or set(self._groups) - leaders
        return _IDLE_S if timed else None

    def _busy(self) -> bool:
        if self._stop_start is not None:
            if time.monotonic() - self._stop_start >= self._limits.abandon_s:
                for label in self._groups.values():
                    self._screen_message(f'{label}: still there after SIGKILL, given up')
                return False
            return bool(self._groups)
        alive = any(c.process is not None or c.restart_at is not None for c in self._children)
        if not alive and self._groups:
            self._stop('all nodes have ended, their children have not')
        return bool(alive or self._groups)

    def _take_signals(self) -> None:
        while self._received:
            number = self._received.pop(0)
            name = signal.Signals(number).name
            if self._user_signal is not None:
                self._screen_message(
                    f'{name} again: still stopping, SIGKILL at the latest after '
                    f'{self._limits.sigkill_s:g} s'
                )
                continue
            self._user_signal = number
            self._stop(f'received {name}')

    def _stop(self, reason: str) -> None:
        if self._stop_start is not None:
            return
        self._stop_start = time.monotonic()
        for child in self._children:
            child.restart_at = None
        self._screen_message(f'{reason}: stopping everything (SIGINT)')
        for group in self._groups:
            signal_group(group, signal.SIGINT)

    def _escalate(self) -> None:
        if self._stop_start is None:
            return
        steps = (
            (self._limits.sigterm_s, signal.SIGTERM),
            (self._limits.sigkill_s, signal.SIGKILL),
        )
        for after_s, number in steps[self._escalated :]:
            if time.monotonic() - self._stop_start < after_s:
                return
            self._escalated += 1
            for group, label in self._groups.items():
                self._screen_message(
                    f'{label}: not ended {after_s:g} s after SIGINT, sending {number.name}'
                )
                signal_group(group, number)

    def _reap(self, child: _Child) -> None:
        process = child.process
        if process is None or process.poll() is None:
            return
        # What the process wrote last is still in the pipes.
        for stream in (process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                descriptor, is_error = stream.fileno(), stream is process.stderr
                self._read(child, descriptor, is_error)
                self._close(child, descriptor, is_error)
        code = process.returncode
        child.process, child.code = None, code
        self._screen_message(f'{child.plan.label}: process has ended, {describe_code(code)}')
        if self._will_restart(child):
            child.restart_at = time.monotonic() + child.plan.respawn_delay
            return
        self._note_failure(child, code)
        if child.plan.required:
            self._stop(f'{child.plan.label} has ended')

    def _will_restart(self, child: _Child) -> bool:
        plan = child.plan
        if self._stop_start is not None or not plan.respawn:
            return False
        if plan.required:
            # Upstream shuts down first, and a launch that shuts down starts nothing again.
            return False
        return plan.respawn_max_retries < 0 or child.retries < plan.respawn_max_retries

    def _note_failure(self, child: _Child, code: int) -> None:
        if code == 0 or self._failure is not None:
            return
        stopping = self._stop_start is not None
        # Death by the SIGINT that we sent is how a program without a handler obeys.
        if stopping and code in (-signal.SIGINT, 128 + signal.SIGINT):
            return
        self._failure = (child.plan.label, code, child.last_error)
        self._failed_first = not stopping

    def _restart(self) -> None:
        for child in self._children:
            if child.restart_at is not None and time.monotonic() >= child.restart_at:
                child.retries += 1
                try:
                    self._start(child)
                except OSError as error:
                    child.restart_at = None
                    self._screen_message(f'{child.plan.label}: cannot start again: {error}')
                    self._note_failure(child, 127)

    def _forget_empty_groups(self) -> None:
        leaders = {c.process.pid for c in self._children if c.process is not None}
        for group in [group for group in self._groups if group not in leaders]:
            reap_orphans(group)
            if not signal_group(group, 0):
                del self._groups[group]
                assert self._guardian is not None
                self._guardian.forget(group)

    def _read(self, child: _Child, descriptor: int, is_error: bool) -> None:
        while True:
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._close(child, descriptor, is_error)
                return
            *lines, rest = (child.partial.pop(descriptor, b'') + data).split(b'\n')
            for line in lines:
                self._screen_line(child, line, is_error)
            if rest:
                child.partial[descriptor] = rest

    def _close(self, child: _Child, descriptor: int, is_error: bool) -> None:
        rest = child.partial.pop(descriptor, b'')
        if rest:
            self._screen_line(child, rest, is_error)
        process = child.process
        if process is None:
            return
        for stream in (process.stdout, process.stderr):
            if stream is not None and not stream.closed and stream.fileno() == descriptor:
                self._selector.unregister(stream)
                stream.close()

    def _screen_line(self, child: _Child, line: bytes, is_error: bool) -> None:
        text = line.decode('utf-8', errors='replace').rstrip('\r')
        if is_error and text.strip():
            child.last_error = text.strip()
        plan = child.plan
        self._guarded(partial(self._screen.line, plan.label, text, plan.output, is_error=is_error))

    def _screen_message(self, text: str) -> None:
        self._guarded(partial(self._screen.message, text))

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write to the screen; when nobody reads it any more, end as if told so."""
        try:
            write()
        except BrokenPipeError:
            if self._user_signal is None:
                self._user_signal = signal.SIGPIPE
                self._stop_start = self._stop_start or time.monotonic()
                for group in self._groups:
                    signal_group(group, signal.SIGINT)

    def _result(self) -> Result:
        if self._failure is not None and (self._failed_first or self._user_signal is None):
            label, code, words = self._failure
            said = f' Its last words: {words}' if words else ''
            return Result(shell_code(code), f'{label} failed: {describe_code(code)}.{said}')
        if self._user_signal is not None:
            name = signal.Signals(self._user_signal).name
            return Result(128 + self._user_signal, f'The launch was stopped by {name}.')
        return Result(0, '')


def _drain(receiver: socket.socket) -> None:
    while True:
        try:
            if not receiver.recv(_CHUNK):
                return
        except BlockingIOError:
            return
