# Each target sets up .venv by itself when it is missing, broken or out of date.
# Choose the interpreter with: make PYTHON=/path/to/python3.11 test

.PHONY: help demo test test-long test-nightly promises soak lint resolve bench gpu-check clean \
    run-env dev-env bench-env gpu-env
.DEFAULT_GOAL := help

export PYTHON
# Most tests keep one core busy, and those of several workers wait for each other.
TESTS_AT_ONCE ?= 2

help:
	@echo 'make demo    train a small network on the digits with two workers on this machine'
	@echo 'make test    run the tests (about 12 minutes)'
	@echo 'make test-long  run those that train for long (about 30 minutes)'
	@echo 'make promises write docs/promises.md from the marks on the tests'
	@echo 'make test-nightly  what the Keras of the day breaks, and what it makes superfluous'
	@echo 'make soak    damage runs in every way that we know, for the figures (about an hour)'
	@echo 'make lint    check the format, the style, the imports and the types'
	@echo 'make resolve find out whether the pinned packages fit together'
	@echo 'make bench   measure how training scales, against others (about 30 minutes; root)'
	@echo 'make gpu-check  what a machine with GPUs that is lent for minutes can tell (12 minutes)'
	@echo 'make clean   remove .venv, .venv-nightly, runs and caches'

demo: run-env
	.venv/bin/python launch/local.py --workers=2 -- \
	    --dataset=datasets/digits.py --model=models/small_cnn.py --run_dir=runs/demo \
	    --batch_size=64 --epochs=15 --optimizer=adamw --learning_rate=0.0025 --overwrite

test: dev-env
	.venv/bin/python -m pytest -q -n $(TESTS_AT_ONCE) -m 'not long'

# The gallery of models, the kinds of data, faults on real processes: what CI runs and a first look
# at the project needn't wait for.
test-long: dev-env
	.venv/bin/python -m pytest -q -n $(TESTS_AT_ONCE) -m long

promises: dev-env
	.venv/bin/python -m tests.promises

# In an environment of its own, whose packages are the pinned ones but for Keras: TensorFlow asks for
# `keras`, which the nightly one doesn't call itself, so that each package is installed by itself.
NIGHTLY = .venv-nightly/bin/python

test-nightly: dev-env
	@[ -x $(NIGHTLY) ] || .venv/bin/uv venv --quiet --python=.venv/bin/python .venv-nightly
	@cat requirements.txt requirements-dev.txt | sed -e '/^-r/d' -e '/^keras==/d' | \
	    .venv/bin/uv pip install --quiet --python=$(NIGHTLY) --no-deps -r -
	@.venv/bin/uv pip install --quiet --python=$(NIGHTLY) --upgrade-package=keras-nightly keras-nightly
	$(NIGHTLY) -m tests.nightly

# What docs/reliability.md says. One after the other; what fails doesn't keep the rest from running.
SOAK = 'hostile --count=1000' 'measure_saves --runs=25' 'supervisor --runs=10' \
    'measure_stops --stops=40 --seed=1' 'measure_kills --kills=20 --seed=1' 'measure_apart --kills=6' \
    'measure_lost_workers --runs=2' 'cut_links --runs=2' 'hangs --runs=1' 'slow --runs=1' \
    'measure_overhead --runs=1' 'measure_false_alarms --minutes=10' \
    'soak --faults=200 --seed=1'
# What has no figures: R9, R15, S1, S3, R18.
SOAK_TESTS = $(addprefix tests/faults/,test_ledger.py test_flipping.py test_one_port.py test_hostile_files.py) \
    tests/jobs/test_two_runs.py

soak: dev-env
	@failed=; for command in $(SOAK); do \
	    echo; echo "$$(date +%T) tests.faults.$$command"; \
	    .venv/bin/python -m tests.faults.$$command || failed="$$failed $${command%% *}"; \
	done; echo; echo "$$(date +%T) $(SOAK_TESTS)"; \
	.venv/bin/python -m pytest $(SOAK_TESTS) || failed="$$failed tests"; \
	echo; echo "$$(date +%T) failed:$${failed:- none}"; [ -z "$$failed" ]

lint: dev-env
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/python -m mypy

# Every file of packages on every Python that we allow, for the Linux of a node, whatever is installed
# here. pip would do so too, but it fetches 3 GB of CUDA libraries to look into them.
resolve: dev-env
	@for file in requirements*.txt; do for python in 3.11 3.12 3.13; do \
	    echo "$$file, Python $$python"; \
	    .venv/bin/uv pip compile --quiet --python=.venv/bin/python --python-version=$$python \
	        --python-platform=x86_64-manylinux_2_28 $$file >/dev/null || exit 1; \
	done; done

# What the README's results say; links of 1 Gbit/s need root. VGG-16 takes 4 GB a worker, which is
# too much for two systems at once.
BENCH = .venv/bin/python launch/bench.py --blocks=5 --out=runs/bench
BF16 = tfscale:wire_dtype=bfloat16

bench: bench-env
	$(BENCH)/wait-12 --profile=wait-12 --workers=1,2 --link_mbps=0,1000 --block_seconds=3 \
	    --systems=tfscale,$(BF16),stock,ddp:wire_dtype=float16
	$(BENCH)/four --profile=wait-12 --workers=1,4 --block_seconds=3 --notimeline \
	    --systems=$(BF16)
	.venv/bin/python launch/compare.py --blocks=5 --out=runs/bench/whole
	$(BENCH)/buckets --profile=wait-12 --workers=2 --link_mbps=0,1000 --block_seconds=2 --notimeline \
	    --systems=$(BF16),$(BF16):bucket_mb=2,$(BF16):bucket_mb=4,$(BF16):bucket_mb=8,$(BF16):bucket_mb=16
	$(BENCH)/xla --model=small-resnet --workers=1 --block_seconds=2 --systems=tfscale,tfscale:jit=1
	$(BENCH)/tiny-mlp --model=tiny-mlp --workers=1,2 --block_seconds=2 \
	    --systems=tfscale,bare,stock,ddp
	$(BENCH)/eight --profile=wait-12-small --workers=1,8 --block_seconds=3 --notimeline \
	    --systems=$(BF16)
	for system in $(BF16) stock; do \
	    $(BENCH)/vgg-16/$$system --profile=vgg-16 --time_scale=65 --workers=1,2 \
	        --link_mbps=1000 --block_seconds=5 --notimeline --systems=$$system || exit 1; done

# After the installation, which takes 3 GB and a few minutes by itself: make gpu-env.
gpu-check: gpu-env
	.venv/bin/python launch/gpu_check.py --out=runs/gpu-check-$$(date +%m%d-%H%M)

clean:
	rm -rf .venv .venv-nightly runs .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

bench-env:
	@sh -c "$$SETUP" setup run requirements.txt bench requirements-bench.txt

gpu-env:
	@sh -c "$$SETUP" setup run requirements.txt gpu requirements-gpu.txt

run-env:
	@sh -c "$$SETUP" setup run requirements.txt

# The development packages contain those of a run, so that this also satisfies run-env.
dev-env:
	@sh -c "$$SETUP" setup run requirements.txt dev requirements-dev.txt

# setup (STAMP FILE)...: makes .venv hold the packages of the last FILE, whose predecessors are
# part of it. Empty files .venv/.STAMP-<checksum of the files> remember what is installed.
define SETUP
set -eu

usable='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

# Being on the PATH is not enough: a version manager leaves names there that fail when run.
find_python() {
    for candidate in $${PYTHON:+"$$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        if "$$candidate" -c "$$usable" >/dev/null 2>&1; then
            echo "$$candidate"
            return
        fi
    done
    echo 'make: no Python 3.11, 3.12 or 3.13 with its venv module was found; install one (Debian,' \
        'Ubuntu: apt-get install python3 python3-venv) or run: make PYTHON=/path/to/python3.11' >&2
    return 1
}

# Sound: it runs, has pip, was made in this folder and, if PYTHON is given, by that Python.
is_sound() {
    [ -x .venv/bin/python ] || return 1
    .venv/bin/python -c "$$usable; import pip" >/dev/null 2>&1 || return 1
    prefixes='import os, sys; print(os.path.realpath(sys.base_prefix), sys.version_info[:3])'
    here=$$(.venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.prefix))')
    [ "$$here" = "$$(pwd -P)/.venv" ] || return 1
    [ -z "$${PYTHON:-}" ] || ! "$$PYTHON" -c "$$usable" >/dev/null 2>&1 ||
        [ "$$("$$PYTHON" -c "$$prefixes")" = "$$(.venv/bin/python -c "$$prefixes")" ]
}

if ! is_sound; then
    python=$$(find_python)
    rm -rf .venv
    echo "make: .venv is made with $$("$$python" --version)"
    "$$python" -m venv .venv
fi

files= stamps=
while [ $$# -gt 0 ]; do
    file=$$2
    files="$$files $$file"
    stamp=.venv/.$$1-$$(cat $$files | cksum | cut -d ' ' -f 1)
    stamps="$$stamps $$stamp"
    shift 2
done
if [ ! -f "$$stamp" ]; then
    echo "make: installing $$file into .venv (a few minutes the first time)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$$file"
    rm -f .venv/.run-* .venv/.dev-* .venv/.gpu-*
    touch $$stamps
fi
endef
export SETUP
