# make demo and make test are all that a newcomer needs; each sets up what is missing first.

.PHONY: help setup demo test lint benchmarks clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## system packages, .venv, build; fast when nothing changed
	@tools/setup.sh

demo: setup  ## teach the simulated robot to pick a cup, then write the report
	@./deft demo

test: setup lint  ## all tests
	@tools/run.sh python -m pytest -q -n 2 --dist loadfile

lint: setup  ## ruff and mypy
	@tools/run.sh tools/lint.sh

benchmarks: setup  ## measure again and rewrite docs/results.md
	@tools/run.sh tools/benchmarks.sh

clean:  ## remove everything that was built; runs/ stays
	rm -rf .venv build install log
