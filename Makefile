# Two commands for a newcomer: `make serve` and `make test`. Everything they need is set up by them.
PYTHON ?= python3
UV := .tools/bin/uv
UV_VERSION := 0.13.9
BIN := .venv/bin
DATA ?= data
PYTEST_WORKERS ?= 2

.PHONY: serve setup check format test system-packages soak bench lock clean

setup: .venv/.stamp

.tools/bin/uv:
	$(PYTHON) -m pip install --quiet --target .tools uv==$(UV_VERSION)

.venv/.stamp: requirements.lock pyproject.toml | .tools/bin/uv
	$(UV) venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@

serve: setup
	exec $(BIN)/annals serve --data $(DATA)

system-packages: setup
	@$(BIN)/python tests/system_packages.py

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup system-packages
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal

soak: setup system-packages
	ANNALS_SOAK=1 $(BIN)/pytest -m "durability or soak" --timeout 7200

bench: setup system-packages
	$(BIN)/python -m bench

lock: .tools/bin/uv
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --all-extras pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache
