#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
ruff check src benchmarks examples test tools
ruff format --check src benchmarks examples test tools
mypy src/*/deft_*/ src/dynamixel_simulator/dynamixel_simulator
