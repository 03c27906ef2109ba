# Every target makes the virtual environment that it needs: all it takes is Python 3.10 or later,
# with pip. Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
# What make bench measures: a table of CONTRIBUTING.md.
TABLE ?= speed
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo example test test-long test-processors test-oldest test-newest test-pythons test-hosts \
	lint package docs release publishable bench study readme trust clean
# Two targets must not install into the environment at the same time.
.NOTPARALLEL:
# Where bytecode is not kept, each of hundreds of processes compiles all sources again.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo 'make demo    train on real data, race naive NumPy, and draw what came of it'
	@echo 'make example tell all about the logits of real models on real data'
	@echo 'make test    run the tests, in 5 minutes with nothing compiled before'
	@echo 'make test-long  run those that take longer: README.md, docstrings, ordeals, every float32'
	@echo 'make test-processors  run those of exactness for short and long vectors'
	@echo 'make test-oldest test-newest  run some with other versions of Numba and NumPy'
	@echo 'make test-pythons  run some with each Python that is found'
	@echo 'make test-hosts  run those of the libraries that fastloss is used in, in .venv-hosts'
	@echo 'make lint    check style, layout and types'
	@echo 'make package build the wheel and the sdist, and try them in an environment of their own'
	@echo 'make docs    make the site of docs/, in build/docs/'
	@echo 'make release VERSION=x.y.z  all up to publishing: see RELEASING.md'
	@echo 'make publishable  fail if an address is missing that a publication needs'
	@echo 'make bench   compare with naive and careful NumPy and with the speed of memory;'
	@echo '             with TABLE=NAME another table: cross-entropy, elementwise, family, calls,'
	@echo '             cutoff, threads, scorecard, hosts, memory or cold'
	@echo 'make study   compare with other libraries at everything, 7 minutes, and write a report;'
	@echo '             with ARGS: see fastloss bench --help'
	@echo 'make trust   run the experiments of docs/trust/ and write its pages; NAME=NAME runs one'
	@echo 'make readme  put a result of make bench, kept with STORE=1, into README.md and docs/'
	@echo 'make clean   remove the virtual environment and all caches of tools'

demo: $(VENV)/.demo
	$(BIN)/python -m fastloss demo

example: $(VENV)/.example
	$(BIN)/python examples/real_logits.py

# On all CPUs, as nearly all of the time goes into compiling. Whoever is done takes tests from the
# others: what one process compiled, all find in the store.
ON_ALL_CPUS := -m pytest -n auto --dist worksteal --benchmark-disable
test: $(VENV)/.test
	$(BIN)/python $(ON_ALL_CPUS) -m 'not long and not each_processor' tests

# What takes long: every float32, the store after each kind of edit and damage, ordeals of processes,
# README.md, the demo. What is kept of benchmarks is shown by one, which cannot run beside others.
test-long: $(VENV)/.test
	$(BIN)/python $(ON_ALL_CPUS) -m long
	$(BIN)/python -m pytest tests/test_bench.py -k test_pytest_benchmark_keeps

# Exactness with vectors of all lengths, with and without fused products, and the bits of results.
test-processors: $(VENV)/.test
	$(BIN)/python -m tests.on_each_processor

# A small part of them with the oldest Numba and NumPy that pyproject.toml allows, with the newest
# that there are, pre-releases included, and with each Python that it names and that is found here.
test-oldest test-newest test-pythons: test-%: $(VENV)/.test
	$(BIN)/python -m tests.on_versions $*

# Those of large hosts, in an environment of their own, and examples of docstrings. `make test` has
# other hosts; of XGBoost it lacks tables of pandas.
test-hosts: HOSTS = catboost jax torch xgboost
test-hosts: OTHERS = lightgbm scipy sklearn
test-hosts: HOST_MODULES = $(wildcard $(HOSTS:%=src/fastloss/%*))
test-hosts:
	$(MAKE) VENV=.venv-hosts .venv-hosts/.hosts
	.venv-hosts/bin/python -m pytest tests/hosts $(OTHERS:%=--ignore tests/hosts/test_%.py) $(HOST_MODULES)

lint: $(VENV)/.lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

package: $(VENV)/.package
	$(BIN)/python -m tools.package

# Without a network. Small data in plain Python, which compiles nothing, will do for pictures.
docs: $(VENV)/.docs
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet \
		-d build/doctrees docs build/docs
	$(BIN)/python -m tools.links build/docs

release: $(VENV)/.package
	$(BIN)/python -m tools.release $(VERSION)

# Fails as long as an address is missing: the last thing before anything is published.
publishable: $(VENV)/.package
	$(BIN)/python -m tools.release --publishable

# A part of it: make bench ARGS='-k mse'. Less time for each workload: ARGS='--seconds 1'.
# The table of pytest-benchmark: ARGS=--benchmark-verbose
bench: BENCH = bench/test_$(subst -,_,$(TABLE)).py
bench: $(VENV)/.bench
	$(BIN)/python -m pytest $(BENCH) --benchmark-only --benchmark-quiet -q $(ARGS)

study: $(VENV)/.bench
	$(BIN)/python -m fastloss bench $(ARGS)

# After make bench: make readme STORE=1
readme: $(VENV)/.bench $(VENV)/.demo
	$(BIN)/python -m bench.readme $(if $(STORE),--store)

# Of PyTorch, a build for CPUs will do: make .venv/.made, install it there, and nothing larger is
# fetched.
# Pages of stored results once more: make trust ARGS=--render
trust: $(VENV)/.trust
	$(BIN)/python -m trust $(NAME) $(ARGS)

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest .venv-pythons .venv-hosts .venv-package build dist .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests bench tools trust -name __pycache__ -type d -exec rm -rf {} +

# $(VENV)/.NAME stands for "the group NAME is installed, as pyproject.toml now describes it".
$(VENV)/.%: $(VENV)/.editable
	@echo "Installing what 'make $*' needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --group $*
	@touch $@

# The package itself, once for all groups, as it takes longer than most of them. Groups are known to
# pip from 25.1 on, which is newer than the one that some Pythons bring.
$(VENV)/.editable: $(VENV)/.made pyproject.toml
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# Some systems split ensurepip from Python, and venv fails without it: then pip brings itself.
$(VENV)/.made:
	@$(PYTHON) -m venv --clear $(VENV) || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@touch $@
