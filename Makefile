# Every target does its own set-up in .venv; `make demo` and `make test` need nothing else typed.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS ?=

# gcc before 12.4 / 13.3 miscompiles llama.cpp's AMX set-up, which then crashes at the first quantized
# batch (ggml-org/llama.cpp#20824), so AMX stays off wherever the compiler knows these flags.
NO_AMX := -mno-amx-tile -mno-amx-int8 -mno-amx-bf16
AMX_FLAGS := $(shell [ "$$(uname -m)" = x86_64 ] && echo 'int x;' | $${CC:-cc} $(NO_AMX) -x c -c -o /dev/null - 2>/dev/null && echo "$(NO_AMX)")
INSTALL := CFLAGS="$(CFLAGS) $(AMX_FLAGS)" CXXFLAGS="$(CXXFLAGS) $(AMX_FLAGS)" $(PIP) install --constraint constraints.txt

# Build tools talk a lot; what they say is shown only when they fail.
LOGGED := >.venv/setup.log 2>&1 || { cat .venv/setup.log; exit 1; }

.PHONY: demo test check clean

demo: .venv/core.stamp
	$(BIN)/edgellm demo $(ARGS)

test: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: .venv/test.stamp .venv/check.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/python -m pytest --quiet tests/test_imports.py

clean:
	rm -rf .venv build dist *.egg-info

.venv/core.stamp: pyproject.toml constraints.txt
	@echo "Setting up .venv; the first time compiles llama.cpp, about 5 minutes on 2 cores."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --upgrade "pip>=25.1" $(LOGGED)
	@$(INSTALL) --editable . $(LOGGED)
	@touch $@

.venv/test.stamp: .venv/core.stamp
	@$(INSTALL) --group test $(LOGGED)
	@touch $@

.venv/check.stamp: .venv/core.stamp
	@$(INSTALL) --group check $(LOGGED)
	@touch $@
