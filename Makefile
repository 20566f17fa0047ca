# make demo   environment, simulated market, training, forecast, chart; the dashboard on a terminal
# make test   everything CI runs
# make fuzz   every parser under bent input, ten minutes or FUZZ_SECONDS=N
# make bench  speed and memory, as ratios within one run

PYTHON ?= python3
FUZZ_SECONDS ?= 600
VENV := .venv
BIN := $(VENV)/bin
.PHONY: env demo test lint fuzz bench clean
.DEFAULT_GOAL := env

env: $(VENV)/.ready

$(VENV)/.ready: requirements/lock.txt requirements/develop.txt requirements/unsloth.txt requirements/install-torch.sh pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("stockllm needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": name one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Making the environment in $(VENV); this takes a few minutes the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 sh requirements/install-torch.sh $(BIN)/pip
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install -q -r requirements/lock.txt -r requirements/develop.txt
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install -q --no-deps -r requirements/unsloth.txt
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# A simulated market in the demo folder of the user's home, five chosen stocks trained on, all 41
# forecast. Nothing of it touches the real store.
demo: env
	@set -e; \
	made="$$($(BIN)/stockllm demo --json)"; \
	home="$$(echo "$$made" | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["home"])')"; \
	export STOCKLLM_HOME="$$home"; \
	$(BIN)/stockllm train --choose-stock 5 --max-steps 60; \
	$(BIN)/stockllm forecast --all; \
	$(BIN)/stockllm forecast 2330 --chart "$$home/2330.png"; \
	$(BIN)/stockllm signals 2330; \
	if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/stockllm-tui; \
	else echo "Open the dashboard on it with: $(BIN)/stockllm-tui --demo"; fi

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two workers for two cores; threads that spin for a core the other worker holds would slow both.
test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2

# Every parser under bent input for FUZZ_SECONDS in all; a failure prints the input that made it.
fuzz: env
	STOCKLLM_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz -s --timeout $(FUZZ_SECONDS)

bench: env
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
