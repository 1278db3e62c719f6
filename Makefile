# The whole set-up, on a Linux machine with Python >= 3.11 and nothing else prepared:
#   make demo    install, run the main job on bundled real images, print the table of sizes
#   make test    install, run the tests
#   make lint    ruff (check, format) and mypy (strict)
#   make sbom    write sbom.json: what is installed for users, as CycloneDX
#   make audit   ask for known vulnerabilities of what is tested with; says so where nobody can be asked
#   make clean   remove what the above made
#
# The package is installed plainly, not editable: the tests then meet what a user gets, so that a file missing
# from the package fails here first. It is installed again whenever a source file is newer. To work on the code,
# use an environment of your own: pip install -c constraints.txt -e '.[torch,test,demo,lint]'

PYTHON ?= python3
VENV ?= .venv-make
OUT ?= demo-out
SBOM ?= sbom.json
# A file of tests runs in one process; many of them wait for other processes, so two share a processor well.
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
TOOLS := $(VENV)-tools
SOURCES := pyproject.toml README.md LICENSE $(shell find src codecs pipeline workflows examples -type f -not -path '*/__pycache__/*')

.PHONY: demo test test-slow lint sbom audit install-demo install-test clean
.DELETE_ON_ERROR:

demo: install-demo
	$(BIN)/tilepress demo --out $(OUT)

test: install-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: install-test
	$(BIN)/python -m pytest -m "slow and not long" $(PYTEST_ARGS)

lint: install-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p tilepress

sbom: install-demo $(TOOLS)/.installed
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o $(SBOM) $(BIN)/python

audit: $(TOOLS)/.installed
	$(TOOLS)/bin/python .ci/audit $(TOOLS)/bin/pip-audit constraints.txt

install-demo: $(VENV)/.package
install-test: $(VENV)/.dependencies-test $(VENV)/.package

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "tilepress needs Python 3.11 or newer: make PYTHON=/path/to/python3 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.dependencies: pyproject.toml constraints.txt | $(BIN)/python
	rm -rf build src/*.egg-info
	$(BIN)/python -m pip install --quiet -c constraints.txt '.[torch,demo]'
	touch $@ $(VENV)/.package

$(VENV)/.dependencies-test: pyproject.toml constraints.txt | $(VENV)/.dependencies
	rm -rf build src/*.egg-info
	$(BIN)/python -m pip install --quiet -c constraints.txt '.[torch,test,demo,lint]'
	touch $@ $(VENV)/.package

# Apart from the rest, so that they are not in what they list.
$(TOOLS)/.installed: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3'
	touch $@

# A build folder left by an earlier install would put removed files into the package.
$(VENV)/.package: $(SOURCES) | $(VENV)/.dependencies
	rm -rf build src/*.egg-info
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall .
	rm -rf build src/*.egg-info
	touch $@

clean:
	rm -rf $(VENV) $(TOOLS) $(OUT) $(SBOM) build src/*.egg-info
