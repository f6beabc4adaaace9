# make demo · test · quick · check · smoke · bench: each does its own set-up. make lock: after a change of requirements.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test quick check smoke bench lock
demo: .venv/app
	$(BIN)/python app.py

test: .venv/dev /usr/bin/chromium
	$(BIN)/python -m pytest tests/test_alone.py
	$(BIN)/python -m pytest --ignore tests/test_alone.py -n 2 --dist loadfile --no-loadscope-reorder

quick: .venv/dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

smoke: .venv/train
	$(BIN)/python -m train.run smoke

bench: .venv/dev
	$(BIN)/python -m benchmarks.training --quick

# What is installed are the exact files that the locks name by hash; the requirements are the ranges that they fit.
# uv installs in a third of pip's time, but does not know pip's own settings, say another index.
.venv/app: requirements.lock
.venv/train: requirements-train.lock
.venv/dev: requirements-dev.lock
.venv/app .venv/train .venv/dev:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $< || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# Versions that a lock names stay as they are where they still fit; UPGRADE=--upgrade takes the newest.
lock:
	for set in -dev -train ""; do \
		$(BIN)/uv pip compile requirements$$set.txt --universal --python-version 3.11 --generate-hashes --no-annotate \
			--custom-compile-command "make lock" --quiet $(UPGRADE) \
			$$([ "$$set" = -dev ] || echo --constraints requirements-dev.lock) --output-file requirements$$set.lock; \
	done

/usr/bin/chromium:
	apt-get update -q && apt-get install -qy --no-install-recommends chromium
