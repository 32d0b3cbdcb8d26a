# Needs Python 3.10 to 3.12 and nothing else: `make demo` shows the main job, `make test` checks the project.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
WORKERS ?= 2
BIN = $(VENV)/bin
SOURCES = setup.cfg pyproject.toml

.PHONY: demo test test-slow lint benchmarks clean

demo: $(VENV)/.installed
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/bitat-tf train --data digits --out $(RUN) --overwrite

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=900 notebooks

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

benchmarks: $(VENV)/.installed
	$(BIN)/python -m benchmarks

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else "bitat_tf needs Python 3.10 to 3.12, this is %d.%d. Name another one: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

# The TF_CPP_MIN_LOG_LEVEL above keeps TensorFlow's notes on its build out of the demo.
clean:
	rm -rf $(VENV) runs build dist *.egg-info
