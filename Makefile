PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup serve test lint unit bench bench-quick clean

setup: $(STAMP)

$(STAMP): pyproject.toml sdk/python/pyproject.toml tests/js/package.json
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet torch==2.14.1 torchaudio==2.11.0
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e sdk/python -e '.[dev]'
	if command -v npm; then npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts --prefix tests/js; fi
	touch $@

serve: setup
	$(BIN)/millstream serve

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

test: lint unit

bench: setup
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[quality]'
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.asr
	$(BIN)/python -m benchmarks.lm
	$(BIN)/python -m benchmarks.diffusion
	$(BIN)/python -m benchmarks.live
	$(BIN)/python -m benchmarks.voice
	$(BIN)/python -m benchmarks.webrtc

bench-quick: setup
	$(BIN)/python -m benchmarks.engine --quick
	$(BIN)/python -m benchmarks.asr --quick
	$(BIN)/python -m benchmarks.lm --quick
	$(BIN)/python -m benchmarks.diffusion --quick
	$(BIN)/python -m benchmarks.live --quick
	$(BIN)/python -m benchmarks.voice --quick
	$(BIN)/python -m benchmarks.webrtc --quick

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
