# The commands of the course. `make` alone lists them.
# Nothing is needed but Python 3.11 to 3.14, git, make and a package index.

.DEFAULT_GOAL := help
.PHONY: help got minio book serve lab test stores engines exercises badges version lock clean
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
# What `make lab` opens: the student's own copies, or the sources.
FOLDER := work
# Whose variables it has: all of the datalab, or those of a service of the SSP Cloud (service).
AS := laptop
# Its S3 store: minio or seaweedfs. By default `make lab` takes what starts soonest; book and
# tests take $DATALAB_STORE, else minio.
STORE :=
BOOKS_STORE := $(or $(STORE),$(DATALAB_STORE),minio)
# Trust the authorities that the machine trusts (a company's proxy), not only uv's own list.
export UV_SYSTEM_CERTS := 1

help:  ## list these commands
	@echo "Data in the Cloud: an executable course on files, Parquet and S3"
	@echo
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /|/' | \
	    while IFS='|' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

book: got _build/run-on-$(BOOKS_STORE) _build/styled-with  ## run every notebook on a local S3 store, build the HTML
	@DATALAB_STORE=$(BOOKS_STORE) $(PYTHON) -m book.execute
	@$(VENV)/bin/jupyter-book build . -W -n --keep-going
	@echo "The book is in $(CURDIR)/_build/html/index.html; 'make serve' shows it in a browser."

serve: $(VENV)/ready  ## show the book in a browser, on 127.0.0.1
	@test -f _build/html/index.html || $(MAKE) book
	@echo "Open the address below in a browser; Ctrl-C ends it."
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(or $(PORT),0)

lab: $(VENV)/ready  ## JupyterLab on the local datalab, as a student (FOLDER=notebooks: as an author; AS=service; STORE=minio)
	@$(if $(filter work,$(FOLDER)),$(PYTHON) init-scripts/student_edition.py notebooks work)
	@$(PYTHON) -m datalab up --with available --as $(AS) $(if $(STORE),--store $(STORE))
	@echo "The datalab runs until: $(PYTHON) -m datalab down"
	@$(PYTHON) -m datalab run -- jupyter lab --ServerApp.root_dir=$(FOLDER) \
	    $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_OPTIONS)

test: got  ## test notebooks, datalab, book: what a change since the last time may touch (ALL=yes, TESTS="...", STORE=seaweedfs)
	@$(if $(STORE),DATALAB_STORE=$(STORE)) $(PYTHON) -m pytest $(if $(ALL),--all) $(TESTS)

stores: got  ## try every feature of the two S3 stores, write the table of book/testing.md
	@$(PYTHON) -m tests.stores

engines: got  ## measure the engines of part 5 on one large table (ROWS=60000000)
	@$(PYTHON) -m tests.engines $(if $(ROWS),--rows $(ROWS))

exercises: $(VENV)/cluster  ## how well the checks are proven (NOTEBOOK=...: its exercises as text; EDITED=...: take it back)
	@$(PYTHON) -m tests.exercises $(NOTEBOOK) $(EDITED) $(if $(filter no,$(MUTANTS)),--no-mutants)

badges: $(VENV)/ready  ## write the launch badges into README.md and the start page
	@$(PYTHON) book/_ext/badges.py

version:  ## print the course's version, the tag that launch links point to
	@sed -n 's/^ *branch: &version //p' _config.yml

lock: $(VENV)/ready  ## compile the locked requirements from pyproject.toml, newest versions
	@set -e; \
	compile() { \
	    $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 "$$@"; \
	}; \
	compile --generate-hashes pyproject.toml --group notebooks --group samples \
	    --group book --group test --output-file requirements.txt; \
	compile --generate-hashes --group go --output-file datalab/machine/go-toolchain.txt; \
	compile --generate-hashes --group aws --output-file datalab/machine/aws-cli.txt; \
	compile --generate-hashes --group seaweedfs --output-file datalab/machine/seaweedfs.txt; \
	compile --generate-hashes --group cluster --constraint requirements.txt \
	    --output-file requirements-cluster.txt; \
	compile --generate-hashes --no-deps --group sail --constraint requirements-cluster.txt \
	    --output-file datalab/machine/sail.txt; \
	compile --group platform --output-file tests/platform-packages.txt

clean:  ## remove the built book, the virtual environment and what tests remember (the datalab's data stay)
	rm -rf _build .pytest_cache $(VENV)

# The cache of executed notebooks sees a change of their code only; a change of packages,
# of the datalab's data or of the store makes all of them run again.
_build/run-on-$(BOOKS_STORE): requirements.txt $(wildcard datalab/*.py datalab/*/*.py)
	@rm -rf _build && mkdir _build && touch $@

# Nor does Sphinx copy a changed style while all pages are unchanged.
_build/styled-with: _build/run-on-$(BOOKS_STORE) $(wildcard book/_static/* book/_ext/*.py book/_ext/onyxia_launch/*.*) \
    init-scripts/student_edition.py
	@rm -rf _build/html _build/.doctrees && touch $@

# The packages, those of unit 52 among them, and MinIO, at the same time: these wait for the network, that for the compiler.
got:
	@$(MAKE) --jobs=2 $(VENV)/cluster $(if $(filter seaweedfs,$(or $(STORE),$(DATALAB_STORE))),,minio)

# A pipe, so that two commands at a time do not draw on one terminal. Where it fails, the
# next command tries again, and says why.
minio: $(VENV)/first
	@$(PYTHON) -m datalab.machine.binaries 2>&1 | cat

# What builds MinIO (FIRST, from the lock), then everything.
FIRST := uv filelock markdown-it-py mdurl platformdirs pygments rich

# Python 3.13 comes first, since each locked package has a wheel for it.
$(VENV)/first: requirements.txt
	@set -e; \
	for name in $(USE_PYTHON) python3.13 python3.14 python3.12 python3.11 python3 none; do \
	    if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
	        >/dev/null 2>&1; then break; fi; \
	done; \
	if [ $$name = none ]; then \
	    echo "No Python 3.11, 3.12, 3.13 or 3.14 was found on PATH." >&2; \
	    echo "Install one, or name it: make USE_PYTHON=/path/to/python3 …" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$($$name --version); the first time takes a minute or two…"; \
	if ! $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	    if ! $$name -m venv --clear $(VENV); then \
	        echo "Python could not make a virtual environment." >&2; \
	        echo "On Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; \
	    fi; \
	fi; \
	for package in $(FIRST); do sed -n "/^$$package==/,/^    #/p" requirements.txt; done \
	    > $(VENV)/first.txt; \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes \
	    --requirement $(VENV)/first.txt
	@touch $@

$(VENV)/ready: $(VENV)/first
	@set -e; \
	if ! $(VENV)/bin/uv pip sync --python $(PYTHON) --require-hashes requirements.txt; then \
	    if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 14))'; then \
	        echo "For Python 3.14 the package immutables has to be compiled." >&2; \
	        echo "On Debian or Ubuntu: sudo apt-get install build-essential python3-dev" >&2; \
	        echo "Or use Python 3.13: rm -r $(VENV); make USE_PYTHON=python3.13 …" >&2; \
	    fi; exit 1; \
	fi
	@touch $@

# What a notebook on a cluster needs, for book and tests; `make lab` does without. Installed anew
# after each `ready`, which removes what is not in its lock.
$(VENV)/cluster: $(VENV)/ready requirements-cluster.txt
	@$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --require-hashes \
	    --requirement requirements-cluster.txt
	@touch $@
