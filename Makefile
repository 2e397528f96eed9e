# Everything a developer or CI runs. Needs only make and Python >= 3.11; the rest goes into .venv.
#   make demo        train the example twice, list the runs, show which one won, try six settings
#   make test        the tests (ARGS="tests/run -x" for some)
#   make check       formatting, lint, types, layers
#   make frontend    build the page of the browser into src/pystematic/web/static (needs Node >= 18 and npm)
#   make screenshots take the pictures of the page for the docs (needs Chromium)
#   make benchmarks  measure what a start, a number, a query cost, beside other libraries (ONLY=startup ARGS="--rounds 5")
#   make faults      kill, fill, forbid, and see what is left (ARGS="kill-at-start --moments 5" for some)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt
JOBS := 2

.PHONY: demo test check format frontend screenshots benchmarks faults clean

demo: $(VENV)/.ready-demo
	$(BIN)/python examples/digits.py train --learning-rate 0.001 --random-seed 1
	$(BIN)/python examples/digits.py train --learning-rate 0.00001 --random-seed 1
	$(BIN)/pystematic ls
	$(BIN)/pystematic plot val/accuracy
	$(BIN)/pystematic best
	$(BIN)/python examples/digits.py sweep --jobs 2 --seeds 2 train --learning-rate 1e-4,1e-3,1e-2 --epochs 3

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

frontend: frontend/node_modules/.ready
	npm --prefix frontend run --silent build

screenshots: $(VENV)/.ready-dev
	$(BIN)/python scripts/make_screenshots.py

benchmarks: $(VENV)/.ready-dev
	code=0; for name in $(or $(ONLY),startup recording store web equivalence distributed sweep search); do \
		$(BIN)/python benchmarks/$$name.py $(ARGS) || code=$$?; done; exit $$code

faults: $(VENV)/.ready-dev
	$(BIN)/python faults/run.py $(or $(ARGS),--all)

clean:
	rm -rf $(VENV) frontend/node_modules build dist output .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# torch first and alone: once the pinned build is there, no range asked for later brings another one.
$(VENV)/.ready-torch: constraints.txt scripts/find-python
	python=$$(scripts/find-python) && "$$python" -m venv $(VENV)
	$(PIP) torch
	touch $@

$(VENV)/.ready-demo: $(VENV)/.ready-torch pyproject.toml
	$(PIP) -e '.[torch]' scikit-learn
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready-torch pyproject.toml requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	touch $@

frontend/node_modules/.ready: frontend/package.json frontend/package-lock.json
	npm --prefix frontend ci --silent --no-fund --no-audit
	touch $@
