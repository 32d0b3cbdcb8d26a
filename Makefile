# Needs Python 3.10 to 3.13 and nothing else: `make demo` shows the main job, `make test` checks the project.
# With a C++ compiler bitat-runtime is built and tested too; without, its Python part is installed and says what it lacks.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
WORKERS ?= 2
SLOW ?= slow
# With what judges us where it can be installed: Larq, larq-compute-engine; and JAX. `make EXTRAS=test` works without.
EXTRAS ?= test,jax,larq,larq-compute-engine
BIN = $(VENV)/bin
# A file's tests run in one worker: what they share (a trained network, a compiled program) is made once.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15
NOTEBOOK = --nbmake --nbmake-timeout=900
QUICK_NOTEBOOK = notebooks/01_quickstart.ipynb
SOURCES = setup.cfg pyproject.toml
RUNTIME_SOURCES = runtime/pyproject.toml runtime/CMakeLists.txt runtime/README.md runtime/LICENSE \
	$(shell find runtime/bitat_runtime runtime/cmake runtime/include runtime/src -type f ! -name '*.pyc')
COMPILER = $(shell command -v c++ || command -v g++ || command -v clang++)
# $(call test-runtime,MARKERS): one that is there must give a library whose tests pass.
test-runtime = $(if $(COMPILER),$(PYTEST) -m "$(1)" runtime/tests,@echo "No C++ compiler: the tests of bitat-runtime are left out.")

.PHONY: demo test test-slow test-core test-export lint benchmarks docs clean

demo: $(VENV)/.installed
	$(BIN)/bitat-tf train --data digits --out $(RUN) --overwrite

# One thread for each worker: more only wait for each other.
test test-slow: export OMP_NUM_THREADS = 1

test: lint
	$(PYTEST) -m "not slow" $(NOTEBOOK) $(QUICK_NOTEBOOK) tests
	$(call test-runtime,not slow)

test-slow: $(VENV)/.installed-test
	$(PYTEST) -m "$(SLOW)"
	$(call test-runtime,slow)

# What trains, on other releases of Keras.
test-core: export OMP_NUM_THREADS = 1
test-core: $(VENV)/.installed-test
	$(PYTEST) -m "not slow" tests/callbacks tests/calibration tests/layers tests/model_graph tests/test_quantizers.py tests/test_regularizers.py

# What a user has: everything about files, and the notebooks.
test-export: export OMP_NUM_THREADS = 1
test-export: $(VENV)/.installed-test
	$(PYTEST) -m "not slow" $(NOTEBOOK) notebooks tests/conversion tests/deployment tests/export tests/kits tests/tflite_file \
		tests/test_lazy_import.py

benchmarks: $(VENV)/.installed
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed-test
	$(BIN)/mkdocs build --strict

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "bitat_tf needs Python 3.10 to 3.13, this is %d.%d. Name another one: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(SOURCES) $(RUNTIME_SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable . ./runtime
	@touch $@

$(VENV)/.installed-test: $(SOURCES) $(RUNTIME_SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]' './runtime[test]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs build dist site *.egg-info
