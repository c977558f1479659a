PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Tests and the demo use the models that wheels carry; nothing may look for a hub.
export HF_HUB_OFFLINE := 1

.PHONY: demo test docs dist faults slow clean

demo: $(VENV)/installed
	$(BIN)/mnemodex demo $(ARGS)

# One thread for each of the two workers: those of OpenMP wait for each other, busily, where cores are few.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

faults: $(VENV)/installed
	$(BIN)/pytest tests/faults -m faults $(ARGS)

slow: $(VENV)/installed
	$(BIN)/pytest -m slow $(ARGS)

# The pages in build/docs; a link that leads nowhere is an error.
docs: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# What a machine without this repository installs: the wheel, and the versions of what it needs.
dist: $(VENV)/installed
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	cp requirements.lock dist/

$(VENV)/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
