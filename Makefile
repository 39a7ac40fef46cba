# One virtual environment with the CPU set; every target installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO := demo-output

.PHONY: demo test test-quick test-browser lint benchmark clean

# The main job on this repository's own files: embed documents, code and a picture, then compare both engines.
# The checkpoint is an untrained one of the real layout, since weights can't be had everywhere.
demo: $(READY)
	rm -rf $(DEMO) && mkdir $(DEMO)
	$(BIN)/python tools/make_checkpoint.py $(DEMO)/checkpoint
	HF_HUB_OFFLINE=1 $(BIN)/jina-embeddings embed README.md CHANGELOG.md docs src/jina_embeddings --model $(DEMO)/checkpoint \
		--engine transformers --task retrieval --output $(DEMO)/vectors.parquet
	HF_HUB_OFFLINE=1 $(BIN)/jina-embeddings doctor --model $(DEMO)/checkpoint --parity

test: $(READY)
	$(BIN)/pytest -m "not browser"

test-quick: $(READY)
	$(BIN)/pytest -m "not engine and not browser"

# In a headless browser, which pip can't install: apt-get install chromium chromium-driver, or the like.
test-browser: $(READY)
	$(BIN)/pytest -m browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(READY)
	$(BIN)/pip install --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python benchmarks/transformers_engine.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cpu,dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) $(DEMO)
