# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets itself up; only Python 3.11 must be there.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check bench prove clean

demo: $(VENV)/.demo
	$(BIN)/embertune demo

# A worker for each core, up to four: each holds torch, about a gigabyte.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > $(VENV)/imports.log || (cat $(VENV)/imports.log; false)

# About two hours on two cores. `python benchmarks/engine.py ROW` measures one row of the engine's table (`--help`).
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/nli_shaping.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/mining.py
	$(BIN)/python benchmarks/proof.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/engine.py --rounds 1

prove: $(VENV)/.dev
	$(BIN)/python prove/defects.py
	$(BIN)/python prove/real_data.py
	$(BIN)/python prove/augmentation.py
	$(BIN)/python prove/long_tail.py
	$(BIN)/python prove/masking.py
	$(BIN)/python prove/mined.py
	$(BIN)/python prove/levers.py
	$(BIN)/python prove/smaller.py
	$(BIN)/python prove/rates.py
	$(BIN)/python prove/overfitting.py
	$(BIN)/python prove/remedies.py
	$(BIN)/python prove/prefix.py
	$(BIN)/python prove/crossval.py
	$(BIN)/python prove/search.py
	$(BIN)/python prove/kills.py
	$(BIN)/python prove/full_disk.py
	$(BIN)/python prove/coverage.py
	$(BIN)/python prove/shuffled.py
	$(BIN)/python prove/forgetting.py

$(VENV)/.demo: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[demo,dev]'
	touch $@

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache
