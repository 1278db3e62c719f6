# The whole set-up, on a Linux machine with Python >= 3.11 and nothing else prepared:
#   make demo    install, run the main job on bundled real images, print the table of sizes
#   make test    install, run the tests
#   make gpu-check    the tests that need a CUDA device, and speeds of ntc on it beside the CPU; fails where there is none
#   make test-newest    the tests of reading, with Python 3.12 and the libraries that ask for it: zarr 3.4, GDAL 3.12
#   make test-readers    that readers of other projects (napari, ome-zarr-py, s3fs, zarrita, zarr 2) read stores; needs Python 3.12
#   make test-compressai    the tests of codecs that need CompressAI
#   make lint    ruff (check, format) and mypy (strict)
#   make native  compile the native library into the source tree, for work on the code without installing
#   make wheel   build a wheel for this machine into dist/; make wheels: for manylinux x86-64 and aarch64
#   make sbom    write sbom.json: what is installed for users, as CycloneDX
#   make audit   ask for known vulnerabilities of what is tested with; says so where nobody can be asked
#   make clean   remove what the above made
#
# The package is installed plainly, not editable: the tests then meet what a user gets, so that a file missing
# from the package fails here first. It is installed again whenever a source file is newer. To work on the code,
# use an environment of your own: pip install -c constraints.txt -e '.[torch,test,demo,lint]'

PYTHON ?= python3
VENV ?= .venv-make
# A Python of which zarr 3.2 and later exist; pyenv's commands are there also where they refuse to run.
PYTHON_NEWEST ?= $(firstword $(foreach one,python3.12 $(wildcard $(HOME)/.pyenv/versions/3.12*/bin/python),$(shell $(one) -c 'print("$(one)")' 2>/dev/null)))
VENV_NEWEST ?= .venv-make-newest
VENV_READERS ?= .venv-make-readers
COMPRESSAI ?= .venv-make-compressai
OUT ?= demo-out
SBOM ?= sbom.json
# What pytest makes of tests and plugins is kept for the next process, also where a machine keeps no bytecode.
export PYTHONDONTWRITEBYTECODE :=
# A file of tests runs in one process; many of them wait for other processes, so two share a processor well.
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
TOOLS := $(VENV)-tools
SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE $(shell find build_backend src codecs pipeline workflows examples -type f -not -path '*/__pycache__/*')

.PHONY: demo test test-slow gpu-check test-newest test-readers test-compressai lint native wheel wheels sbom audit install-demo install-test clean
.DELETE_ON_ERROR:

demo: install-demo
	$(BIN)/tilepress demo --out $(OUT)

test: install-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: install-test
	$(BIN)/python -m pytest -m "slow and not long" $(PYTEST_ARGS)

gpu-check: install-test
	$(BIN)/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'gpu-check: torch finds no CUDA device')"
	$(BIN)/python -m pytest -m gpu tests/codecs
	$(BIN)/python -m tilepress.workflows.bench.device --torch cuda

# Without torch, so some skip.
test-newest: $(VENV_NEWEST)/.package
	env -u TILEPRESS_NO_SKIPS $(VENV_NEWEST)/bin/python -m pytest $(PYTEST_ARGS) tests/codecs/test_zarr_codec.py tests/codecs/test_numcodecs_codec.py \
	  tests/codecs/test_golden.py tests/codecs/classical tests/codecs/ntc/test_rivals.py tests/pipeline/read tests/pipeline/store tests/pipeline/arrays tests/pipeline/archive/test_replace.py

$(VENV_NEWEST)/.package: constraints-newest.txt $(SOURCES)
	@test -n "$(PYTHON_NEWEST)" || { echo "no Python 3.12 was found: make PYTHON_NEWEST=/path/to/python3.12 …" >&2; exit 1; }
	test -x $(VENV_NEWEST)/bin/python || $(PYTHON_NEWEST) -m venv $(VENV_NEWEST)
	$(VENV_NEWEST)/bin/python -m pip install --quiet -c constraints-newest.txt '.[test]'
	touch $@

# Some of what they install would be in the way of the tests as plugins of pytest, and warn.
test-readers: $(VENV_READERS)/.package
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PATH="$(abspath $(VENV_READERS))/bin:$$PATH" $(VENV_READERS)/bin/python -m pytest \
	  -p pytest_timeout -W default -m readers tests/readers

$(VENV_READERS)/.package: constraints-readers.txt tests/readers/package-lock.json tests/readers/zarr2.txt $(SOURCES)
	@test -n "$(PYTHON_NEWEST)" || { echo "no Python 3.12 was found: make PYTHON_NEWEST=/path/to/python3.12 …" >&2; exit 1; }
	test -x $(VENV_READERS)/bin/python || $(PYTHON_NEWEST) -m venv $(VENV_READERS)
	$(VENV_READERS)/bin/python -m pip install --quiet -c constraints-readers.txt '.[test-readers]'
	rm -rf $(VENV_READERS)/zarr2
	$(VENV_READERS)/bin/python -m pip install --quiet --no-deps --target $(VENV_READERS)/zarr2 -r tests/readers/zarr2.txt
	cp tests/readers/package.json tests/readers/package-lock.json $(VENV_READERS)
	PATH="$(abspath $(VENV_READERS))/bin:$$PATH" npm ci --silent --no-audit --no-fund --prefix $(VENV_READERS)
	touch $@

# Before they run: where CompressAI is not to be imported, they skip.
test-compressai: install-test $(COMPRESSAI)/.installed
	PYTHONPATH=$(abspath $(COMPRESSAI)) $(BIN)/python -W ignore -c "import compressai.models"
	PYTHONPATH=$(abspath $(COMPRESSAI)) $(BIN)/python -m pytest $(PYTEST_ARGS) tests/codecs/compressai

# A folder of packages beside those of the tests. Of torchvision CompressAI asks what transforms it has, for training; its
# wheels on the package index want CUDA, so an empty one stands in.
$(COMPRESSAI)/.installed: constraints-compressai.txt | $(BIN)/python
	rm -rf $(COMPRESSAI)
	$(BIN)/python -m pip install --quiet --no-deps --target $(COMPRESSAI) -r constraints-compressai.txt
	mkdir $(COMPRESSAI)/torchvision
	touch $(COMPRESSAI)/torchvision/__init__.py $(COMPRESSAI)/torchvision/transforms.py $@

lint: install-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p tilepress

native:
	cmake -S . -B build/native -DCMAKE_BUILD_TYPE=Release
	cmake --build build/native
	cp build/native/_kernel.so codecs/native/

wheel: | $(BIN)/python
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

# Clang of the wheel ziglang has the C libraries of both machines, as old as manylinux_2_17 asks for.
wheels: $(TOOLS)/.clang
	for machine in x86_64 aarch64; do \
	  rm -rf dist/$$machine && \
	  CC="$(abspath $(TOOLS))/bin/python -m ziglang cc -target $$machine-linux-gnu.2.17" \
	  $(TOOLS)/bin/python -m pip wheel --quiet --no-deps -w dist/$$machine -C build-dir=build/$$machine \
	    -C cmake.define.CMAKE_SYSTEM_NAME=Linux -C cmake.define.CMAKE_SYSTEM_PROCESSOR=$$machine . && \
	  $(TOOLS)/bin/python -m wheel tags --remove --platform-tag manylinux_2_17_$$machine dist/$$machine/*.whl && \
	  mv dist/$$machine/*.whl dist/ && rmdir dist/$$machine || exit 1; \
	done

$(TOOLS)/.clang:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet 'ziglang>=0.13,<1' 'wheel>=0.45,<1'
	touch $@

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
	$(BIN)/python -m pip install --quiet -c constraints.txt '.[torch,demo]'
	touch $@ $(VENV)/.package

$(VENV)/.dependencies-test: pyproject.toml constraints.txt | $(VENV)/.dependencies
	$(BIN)/python -m pip install --quiet -c constraints.txt '.[torch,test,demo,lint]'
	touch $@ $(VENV)/.package

# Apart from the rest, so that they are not in what they list.
$(TOOLS)/.installed: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3'
	touch $@

# What was compiled is kept in build/, so that only changed sources are compiled again.
$(VENV)/.package: $(SOURCES) | $(VENV)/.dependencies
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall .
	touch $@

clean:
	rm -rf $(VENV) $(VENV_NEWEST) $(VENV_READERS) $(COMPRESSAI) $(TOOLS) $(OUT) $(SBOM) build dist codecs/native/_kernel.so
