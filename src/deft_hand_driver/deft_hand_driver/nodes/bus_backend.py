# SPDX-License-Identifier: Apache-2.0
"""Motors on a Dynamixel bus, driven by a thread of this process."""

from __future__ import annotations

import time
from concurrent.futures import Future

import numpy as np
from rclpy.node import Node

from deft_core.validation import FloatArray
from deft_hand_driver.bus.state import BusSettings
from deft_hand_driver.bus.worker import BusWorker
from deft_hand_driver.description import HandDescription
from deft_hand_driver.motor_reading import BackendStatus, MotorReading


class BusBackend:
    """Turns the reports of a `BusWorker` into readings."""

    def __init__(self, node: Node, description: HandDescription, settings: BusSettings) -> None:
        """Start the thread; it connects by itself.

        Args:
            node: For its clock.
            description: The hand.
            settings: Port and limits.
        """
        self._node = node
        self._path = settings.path
        self._worker = BusWorker(description, settings)
        self._worker.start()

    def check(self) -> None:
        """See `MotorBackend`."""
        self._worker.check()

    def reading(self) -> MotorReading | None:
        """See `MotorBackend`."""
        report = self._worker.report
        sample = report.sample
        if sample is None or not sample.complete:
            return None
        now = time.monotonic()
        ros_now = self._node.get_clock().now().nanoseconds * 1e-9
        return MotorReading(
            stamp=ros_now,
            positions=sample.positions,
            velocities=sample.velocities,
            currents=sample.currents,
            temperatures=sample.temperatures,
            voltages=sample.voltages,
            errors=sample.errors,
            ages=np.maximum(0.0, now - sample.seen),
            cycle_time=report.cycle_time,
            dropped_packets=report.statistics.dropped,
        )

    def silence(self) -> float:
        """See `MotorBackend`; of the thread, which looks for silent motors itself."""
        sample = self._worker.report.sample
        if sample is None or not sample.complete:
            return float('inf')
        return time.monotonic() - sample.stamp

    def status(self) -> BackendStatus:
        """See `MotorBackend`."""
        report = self._worker.report
        statistics = report.statistics
        return BackendStatus(
            fault=report.fault,
            warnings=report.warnings,
            details={
                'port': self._path,
                'bus state': report.state.value,
                'cycle time [ms]': f'{1e3 * report.cycle_time:.2f}',
                'late cycles': str(report.late_cycles),
                'requests': str(statistics.requests),
                'dropped packets': str(statistics.dropped),
                'retries': str(statistics.retries),
            },
        )

    def send(self, positions: FloatArray) -> None:
        """See `MotorBackend`."""
        self._worker.send(positions)

    def enable(self) -> Future[None]:
        """See `MotorBackend`."""
        return self._worker.enable()

    def disable(self) -> Future[None]:
        """See `MotorBackend`."""
        return self._worker.disable()

    def stop(self, reason: str, held: FloatArray | None) -> None:
        """See `MotorBackend`; the thread holds what it measures itself, which is newer."""
        del held
        self._worker.stop_motion(reason)

    def clear(self) -> Future[None]:
        """See `MotorBackend`."""
        return self._worker.clear()

    def finish(self) -> None:
        """See `MotorBackend`."""
        self._worker.finish()
