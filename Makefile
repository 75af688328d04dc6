# Two commands set a fresh machine up; both work in .venv and need Python 3.10+ and a C++ compiler.
#   make demo   installs the runtime (no torch), builds the extension, runs the demo
#   make test   installs what the tests need and runs them all, lint and types included
# And for other machines:
#   make wheels         one wheel per architecture for every Python, audited, installed and tried
#   make test-aarch64   the C++ tests and the runtime on an emulated aarch64 machine

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv pip install --quiet --python $(BIN)/python
BUILD  := .build-cpp
SOURCES := $(shell find runtime export benchmarks cpp_ext -type f -not -name '*.pyc' -not -path '*/results/*') pyproject.toml README.md LICENSE

.PHONY: demo test lint types cpp-test sanitize pytest develop wheels test-aarch64 bench pins clean

demo: $(VENV)/.installed
	$(BIN)/blurvote demo --out demo-output

test: $(VENV)/.test-deps $(VENV)/.gst-deps $(VENV)/.installed
	$(MAKE) --no-print-directory lint types cpp-test sanitize pytest

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "blurvote needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || \
	  { echo "blurvote needs a C++ compiler. On Debian or Ubuntu: apt-get install g++"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# uv and not pip: its resolver takes the torch build that torchvision is compiled against.
$(VENV)/.demo-deps: requirements/demo.txt | $(BIN)/uv
	$(UV) -r requirements/demo.txt
	@touch $@

$(VENV)/.test-deps: requirements/test.txt | $(BIN)/uv
	$(UV) -r requirements/test.txt
	@touch $@ $(VENV)/.demo-deps

$(VENV)/.wheel-deps: requirements/wheels.txt | $(VENV)/.demo-deps
	$(UV) -r requirements/wheels.txt
	@touch $@

# PyGObject has no wheels; without the headers it is built from, tests of GStreamer skip.
$(VENV)/.gst-deps: requirements/gst.txt $(VENV)/.test-deps
	@if pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null; then $(UV) -r requirements/gst.txt; \
	else echo "no GStreamer tests: they need Debian's libgirepository1.0-dev and libcairo2-dev (see .ci/run)"; fi
	@touch $@

$(VENV)/.installed: $(SOURCES) | $(VENV)/.demo-deps
	PATH="$(CURDIR)/$(BIN):$$PATH" $(UV) --no-build-isolation --no-deps --reinstall .
	@touch $@

# For work on blurvote itself: Python files are used in place; C++ needs `make develop` again.
develop: $(VENV)/.test-deps $(VENV)/.gst-deps
	PATH="$(CURDIR)/$(BIN):$$PATH" $(UV) --no-build-isolation --no-deps --reinstall --editable .
	@rm -f $(VENV)/.installed

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

# On the installed wheel (editable installs are opaque to type checkers), for the oldest and the
# newest Python too.
types:
	cd $(VENV) && for version in 3.11 3.10 3.13; do \
	  bin/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache --python-version $$version \
	    -p blurvote.runtime -p blurvote.export -p blurvote.benchmarks || exit 1; done

cpp-test:
	@$(MAKE) --no-print-directory ctest-plain SANITIZE=

sanitize:
	@$(MAKE) --no-print-directory ctest-address SANITIZE=address,undefined
	@$(MAKE) --no-print-directory ctest-thread SANITIZE=thread

ctest-%:
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S cpp_ext -B $(BUILD)/$* -G Ninja -DBLURVOTE_SANITIZE=$(SANITIZE) >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build $(BUILD)/$* >/dev/null
	PATH="$(CURDIR)/$(BIN):$$PATH" ctest --test-dir $(BUILD)/$* --output-on-failure --no-tests=error

pytest:
	$(BIN)/python -m pytest -q

# For x86-64 and aarch64, into dist/ (see cpp_ext/wheels). The wheel for this machine is tried in every
# Python found; what is missing is said.
wheels: $(VENV)/.wheel-deps
	cpp_ext/wheels/build.sh x86_64 aarch64
	cpp_ext/wheels/try.sh 3.10 3.11 3.12 3.13

# The reasons for anything not tested are printed; MAY_SKIP=1 makes them no error.
test-aarch64: $(VENV)/.wheel-deps $(VENV)/.installed
	tests/aarch64/run.sh

bench: $(VENV)/.test-deps $(VENV)/.installed
	$(BIN)/blurvote bench --against all -o bench-output

# Resolves the dependencies for every supported Python at once and rewrites the pins.
pins: | $(BIN)/uv
	for set in demo test gst wheels aarch64; do $(BIN)/uv pip compile --quiet --universal --python-version 3.10 \
	  --no-header --no-annotate requirements/$$set.in -o requirements/$$set.txt || exit 1; done

clean:
	rm -rf $(VENV) $(BUILD) .build .build-wheels .build-aarch64 dist demo-output bench-output lab-output explain-output .mypy_cache .pytest_cache .ruff_cache
