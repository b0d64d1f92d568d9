# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8050

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast evaluate faults faults-sabotage check format screenshots wheel upgrade clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@echo "Building the environment in $(VENV) (once; a minute or two) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements/run.txt
	@$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements/test.txt
	@echo "Adding what the tests and checks need …"
	@$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements/test.txt
	@touch $@

demo: $(VENV)/run.stamp ## Run the sample district: broker, devices, ingest, detection, dashboard (PORT=8050)
	@$(BIN)/chengmai demo --folder .demo --port $(PORT)

test: $(VENV)/test.stamp ## Run the whole test suite
	@sh tests/system-packages.sh
	@$(BIN)/pytest

test-fast: $(VENV)/test.stamp ## Run the tests that take less than a few seconds each
	@$(BIN)/pytest -m "not slow and not browser" -n 2

evaluate: $(VENV)/test.stamp ## Score detection on every set (CHENGMAI_DATA) and write the table of docs/detection.md
	@CHENGMAI_DATA=$${CHENGMAI_DATA:-../shared/data} $(BIN)/python docs/evaluate.py

faults: $(VENV)/test.stamp ## Run the fault campaign on real brokers, stores and workers (within 30 minutes)
	@sh tests/system-packages.sh
	@$(BIN)/python -m tests.faults

faults-sabotage: $(VENV)/test.stamp ## Show that the campaign notices: a worker that acknowledges too early must fail case 4
	@sh tests/system-packages.sh
	@$(BIN)/python -m tests.faults --case 4 --short --sabotage; test $$? = 1 && echo "the sabotage was found out"

check: $(VENV)/test.stamp ## Lint, types, import contract, doctests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/pytest twin sensors ingest dashboards sample_models

format: $(VENV)/test.stamp ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

screenshots: $(VENV)/test.stamp ## Draw the README's pictures with the demo's data
	$(BIN)/python docs/screenshots.py

wheel: $(VENV)/test.stamp ## Build the wheel into dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

upgrade: ## Lock the newest versions that pyproject.toml admits
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --override requirements/left-out.txt --extra ids \
		--output-file requirements/run.txt pyproject.toml
	$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --override requirements/left-out.txt --extra ids \
		--extra test --extra check --constraint requirements/run.txt \
		--output-file requirements/test.txt pyproject.toml
	rm -rf $(VENV)-lock

clean: ## Remove the environment and the demo's data
	rm -rf $(VENV) .demo dist build
