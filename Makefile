# Two targets a newcomer needs:
#   make demo   sets up .venv with the core dependencies and captions the example pictures
#   make test   sets up the rest and runs every check
# Python 3.11 or newer with its venv module is all they ask for. Another one: make demo PYTHON=python3.12

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo test lint format clean

help:
	@sed -n 's/^#  *\(make .*\)/  \1/p' $(MAKEFILE_LIST)

demo: .venv/.core
	@$(BIN)/pali demo

test: lint .venv/.browser .venv/.beam
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal
	@.venv/beam/bin/python -m pytest --quiet tests/test_beam.py

lint: .venv/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: .venv/.test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# A test that opens a page is skipped where there is no browser, and says so.
.venv/.browser: .venv/.test tools/get_browser.py
	@echo "Fetching a headless Chromium into .venv/browser for the tests of pages: 70 MB, once."
	@$(BIN)/python tools/get_browser.py && touch $@ || echo "Without a browser of its own; the tests of pages may be skipped."

# Beam refuses versions of protobuf, Pillow and others that the rest is tested with.
.venv/.beam: .venv/.made pyproject.toml
	@echo "Setting up .venv/beam with Apache Beam, in an environment of its own: 1.2 GB, some minutes, once."
	@$(PYTHON) -m venv .venv/beam
	@.venv/beam/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[beam]' 'beartype>=0.20' 'hypothesis>=6.100' 'pytest>=8.3'
	@touch $@

clean:
	rm -rf .venv build dist

.venv/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"pali needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}. If another one is installed: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv .venv || { echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

.venv/.core: .venv/.made pyproject.toml constraints.txt
	@echo "Setting up .venv with the core dependencies (JAX and Flax, no TensorFlow, no torch): 0.8 GB, some minutes, once."
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

.venv/.test: .venv/.core
	@echo "Setting up .venv with what training and the tests need (SeqIO with TensorFlow, torch): some minutes, once."
	@$(PIP) install --constraint constraints.txt --editable '.[check,train,test]'
	@touch $@
