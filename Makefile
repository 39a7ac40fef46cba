# One virtual environment with the CPU set; every target installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO := demo-output
JINA := HF_HUB_OFFLINE=1 $(BIN)/jina-embeddings

SMOKE := build/smoke
# Tests run in so many processes at once, those of one file in the same one. Bytecode is kept whatever the environment
# says, since tests start the command a hundred times.
JOBS ?= 2
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile

.PHONY: demo test test-quick test-slow test-browser test-clients test-server-long lint smoke benchmark clean

# The main jobs on this repository's own files, with the bundled model: vectors, search, code search, similar texts;
# then both engines are compared.
demo: $(READY)
	rm -rf $(DEMO) && mkdir $(DEMO)
	$(JINA) embed README.md CHANGELOG.md docs --model pocket --output $(DEMO)/vectors.parquet
	$(JINA) index README.md CHANGELOG.md docs --into $(DEMO)/docs.index --model pocket
	$(JINA) search $(DEMO)/docs.index "what to do when memory runs out" --limit 3
	$(JINA) code index src/jina_embeddings/engine --index $(DEMO)/code.index --model pocket
	$(JINA) code search "how much memory is free" --index $(DEMO)/code.index --limit 3
	$(JINA) similar "The cat sleeps." "A cat is asleep." "The market fell." --model pocket
	$(JINA) doctor --model pocket --parity

test: $(READY)
	$(PYTEST) -m "not browser and not slow"

# Without what takes more than about two seconds: engines of vLLM, whole programs, and what is marked `long`.
test-quick: $(READY)
	$(PYTEST) -m "not engine and not long and not browser and not slow"

# The long forms, such as 200 kills of a bulk run; JINA_EMBEDDINGS_KILLED_RUNS=700 makes them 3,500.
test-slow: $(READY)
	$(BIN)/pytest -m slow

# Every client that tests point at the server; some bring a hundred megabytes of their own.
test-clients: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[clients]"
	$(BIN)/pytest tests/server/test_clients.py

# Attacks on the server and its load in their long form, for hours; JINA_EMBEDDINGS_LONG_SHARE=0.01 runs a hundredth of it.
test-server-long: $(READY)
	$(BIN)/pytest -m slow tests/server

# In a headless browser, which pip can't install: apt-get install chromium chromium-driver, or the like.
test-browser: $(READY)
	$(BIN)/pytest -m browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The wheel as users get it: built, installed without extras where nothing else is, and used.
smoke:
	rm -rf dist $(SMOKE) && mkdir -p $(SMOKE)/empty
	$(PYTHON) -m venv $(SMOKE)/venv
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(SMOKE)/venv/bin/pip install --quiet --constraint constraints.txt torch==2.13.0 dist/*.whl
	cd $(SMOKE)/empty && ../venv/bin/python -I ../../../tools/smoke.py
	rm -rf $(SMOKE)

benchmark: $(READY)
	$(BIN)/pip install --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python benchmarks/engines_on_cpu.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cpu,dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) $(DEMO) build dist
