#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command inside the project's environment.
set -eo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$DEFT_ROOT"
exec "$@"
