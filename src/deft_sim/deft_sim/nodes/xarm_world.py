# SPDX-License-Identifier: Apache-2.0
"""Control box and driver of the simulated arm, and what can be done to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from deft_arm.configuration import load_arm_configuration
from deft_arm.planning.kinematics import ArmKinematics
from deft_core.configuration import build, config_directory
from deft_core.errors import ConfigurationError
from deft_core.files import read_yaml
from deft_sim.configuration import ARM
from deft_sim.nodes.xarm_driver import REPORT_RATES, SimulatedXArmDriver
from deft_sim.world import JointSample
from deft_sim.xarm_controller import COLLISION, SimulatedXArm

_START_TIME: Final = 3.0  # [s] until a driver that was started again is there


def make_box() -> SimulatedXArm:
    """Control box of the arm of the configuration, standing at home."""
    configuration = load_arm_configuration(ARM)
    return SimulatedXArm(
        np.asarray(configuration.home),
        np.asarray(configuration.position_lower),
        np.asarray(configuration.position_upper),
        ArmKinematics(configuration),
    )


@dataclass(frozen=True)
class _Switches:
    services: dict[str, bool]


def driver_services() -> dict[str, bool]:
    """Services that `config/drivers/xarm_user_params.yaml` switches on or off."""
    path = config_directory() / 'drivers' / 'xarm_user_params.yaml'
    try:
        switches = read_yaml(path)['ufactory_driver']['ros__parameters']['services']
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{path} needs ufactory_driver: ros__parameters: services: with names and true or '
            'false.'
        ) from error
    return build(_Switches, {'services': switches}, str(path)).services


class XArmWorld:
    """What stands between the physics and whoever speaks to the driver.

    Services on the simulation node do what happens to a real arm: `/simulation/xarm/collide`,
    `/simulation/xarm/emergency_stop` (the button), `/simulation/xarm/connection` (the cable),
    `/simulation/xarm/restart_driver`.

    Reports stay as many in a real second as those of a real arm, whatever the real-time factor;
    more would only take the processor from the simulation.
    """

    def __init__(
        self, node: Node, box: SimulatedXArm, report_type: str, real_time_factor: float
    ) -> None:
        """Start the driver and offer the services."""
        if report_type not in REPORT_RATES:
            raise ConfigurationError(
                f'xarm_report_type is {report_type!r}; known: {", ".join(REPORT_RATES)}.'
            )
        self._node, self._box, self._report_type = node, box, report_type
        self._most_reports = REPORT_RATES['dev'] / max(1.0, real_time_factor)
        self._switches = driver_services()
        self._now, self._starts = 0.0, 0.0
        self._driver: SimulatedXArmDriver | None = self._start()
        offer = node.create_service
        offer(Trigger, '/simulation/xarm/collide', self._doing(lambda: box.fail(COLLISION)))
        offer(Trigger, '/simulation/xarm/restart_driver', self._doing(self._restart))
        offer(SetBool, '/simulation/xarm/emergency_stop', self._on_button)
        offer(SetBool, '/simulation/xarm/connection', self._on_connection)

    def publish(self, stamp: float, sample: JointSample) -> None:
        """Publish what is due at a simulated time [s]."""
        self._now = stamp
        if self._driver is None and stamp >= self._starts:
            self._driver = self._start()
        if self._driver is not None:
            self._driver.publish(stamp, sample)

    def close(self) -> None:
        """End the driver."""
        self._starts = float('inf')
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _start(self) -> SimulatedXArmDriver:
        return SimulatedXArmDriver(
            self._box,
            self._node.context,
            self._switches,
            self._report_type,
            self._most_reports,
        )

    def _restart(self) -> None:
        """The process ends and starts again; the box does not notice."""
        self.close()
        self._starts = self._now + _START_TIME

    def _doing(self, act: Callable[[], None]) -> Callable[[Any, Any], Any]:
        def answer(_: Any, response: Trigger.Response) -> Trigger.Response:
            act()
            response.success = True
            return response

        return answer

    def _on_button(self, request: Any, response: SetBool.Response) -> SetBool.Response:
        self._box.press_button(pressed=request.data)
        response.success = True
        return response

    def _on_connection(self, request: Any, response: SetBool.Response) -> SetBool.Response:
        """The driver never connects again by itself: that takes a restart of it."""
        self._box.connected = request.data
        response.success = True
        if request.data:
            response.message = 'The driver needs /simulation/xarm/restart_driver now.'
        return response
