# The whole developer interface. `make demo` and `make test` are all a newcomer needs: each sets up first.
SHELL := bash
PYTHON := $(if $(filter 1,$(ASDA_USE_ACTIVE_ENV)),$(or $(ASDA_PYTHON),python),.venv/bin/python)
SHELL_SCRIPTS := $(wildcard *.sh scripts/*.sh scripts/*.sbatch benchmarks/*.sh) .ci/run

.PHONY: help setup demo ablation test test-long test-fast check format docs bench

help: ## what there is
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | column -ts $$'\t'

setup: ## make .venv and install the tested packages; seconds when nothing has changed
	@scripts/setup.sh

demo: setup ## the main job on this machine, in minutes: corpus, pre-training, fine-tuning, report
	@scripts/demo.sh

ablation: setup ## the ablations of the paper at the size of the demo: under 40 minutes on two cores; goes on where it was stopped
	@scripts/ablation.sh

test: setup ## every test but the long ones; those that need a GPU are skipped where there is none
	$(PYTHON) -m pytest -n 2 --dist worksteal -m "not long"

test-long: setup ## training runs under faults, changed, of further objectives; the scripts of benchmarks
	$(PYTHON) -m pytest -n 2 --dist worksteal -m long

# Programs, launching, fairseq and fits of probes are slower than what they are made of.
SLOWER := $(addprefix --ignore tests/,integration cli launch fairseq_plugin probes demo)
test-fast: setup ## the units of the plain-torch library: under 3 minutes on two cores
	$(PYTHON) -m pytest -n 2 --dist worksteal -m "not slow and not long" $(SLOWER)

check: setup ## format, lint and types, changing nothing
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	@for script in $(SHELL_SCRIPTS); do bash -n "$$script" || exit 1; done

docs: setup ## the documentation as a site, build/site/index.html; fails if a link leads nowhere
	$(PYTHON) scripts/build_docs.py

format: setup ## rewrite the Python files in the project's style
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

bench: setup ## every measurement of benchmarks/, to its table in benchmarks/results; run nothing beside it
	$(PYTHON) -m benchmarks.run_all
