# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Source this file to use the project by hand; `./deft` and the Makefile do it for you.
#
# Two columns (docs/architecture.md): with a ROS 2 Jazzy under /opt/ros the packages come from
# there, else from the wheels in .venv. DEFT_ROS=wheels forces the second.

DEFT_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export DEFT_ROOT

deft_source() { # colcon's and ament's scripts read variables that are not set
  set +u
  # shellcheck disable=SC1090
  source "$1"
}

if [[ ! -x "$DEFT_ROOT/.venv/bin/python" ]]; then
  echo "deft: no environment in $DEFT_ROOT/.venv; run 'make setup' first" >&2
  return 2
fi
if [[ "${DEFT_ROS:-}" != wheels && -f /opt/ros/jazzy/setup.bash ]]; then
  deft_source /opt/ros/jazzy/setup.bash
  deft_source "$DEFT_ROOT/.venv/bin/activate"
else
  deft_source "$DEFT_ROOT/.venv/bin/activate"
  export AMENT_PREFIX_PATH="$VIRTUAL_ENV" CMAKE_PREFIX_PATH="$VIRTUAL_ENV"
  export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
  # The wheels would re-execute every Python once to set this; doing it here saves that.
  LD_LIBRARY_PATH="$VIRTUAL_ENV/lib$(printf ':%s' "$VIRTUAL_ENV"/lib/python3.*/site-packages/ros_*.libs)"
  export LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
fi
if [[ -f "$DEFT_ROOT/install/local_setup.bash" ]]; then
  deft_source "$DEFT_ROOT/install/local_setup.bash"
fi

export MUJOCO_GL="${MUJOCO_GL:-egl}"
export ROS_PYTHON_CHECK_FIELDS="${ROS_PYTHON_CHECK_FIELDS:-1}"
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
