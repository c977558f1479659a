PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Tests and the demo use the models that wheels carry; nothing may look for a hub.
export HF_HUB_OFFLINE := 1

.PHONY: demo test check bench faults slow clean

demo: $(VENV)/installed
	$(BIN)/mnemodex demo $(ARGS)

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

faults: $(VENV)/installed
	$(BIN)/pytest tests/faults -m faults $(ARGS)

slow: $(VENV)/installed
	$(BIN)/pytest tests/slow -m slow $(ARGS)

$(VENV)/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
