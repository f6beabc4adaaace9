# make demo · test · check · smoke · bench: each does its own set-up.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test check smoke bench
demo: .venv/app
	$(BIN)/python app.py

test: .venv/dev /usr/bin/chromium
	$(BIN)/python -m pytest -m alone
	$(BIN)/python -m pytest -m "not alone" -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

smoke: .venv/train
	$(BIN)/python -m train.run smoke

bench: .venv/dev
	$(BIN)/python -m benchmarks.training --quick

# uv installs in a third of pip's time, but does not know pip's own settings, say another index.
.venv/app: requirements.txt
.venv/train: requirements.txt requirements-train.txt
.venv/dev: requirements.txt requirements-train.txt requirements-dev.txt
.venv/app .venv/train .venv/dev:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r $(lastword $^) || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(lastword $^)
	touch $@

/usr/bin/chromium:
	apt-get update -q && apt-get install -qy --no-install-recommends chromium
