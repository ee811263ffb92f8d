#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every benchmark one after the other, then the page made from their results.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Peers of benchmarks/optimisers.py; it says which are missing where this fails.
python -m pip install --quiet --requirement requirements/benchmarks.txt \
  --constraint requirements/constraints.txt || echo 'benchmarks: peers are not installed' >&2

for benchmark in benchmarks/*.py; do
  case "$(basename "$benchmark")" in
    common.py | make_results_page.py) continue ;;
  esac
  echo "== $benchmark"
  python "$benchmark"
done
python benchmarks/make_results_page.py
