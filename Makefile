# Two commands matter: `make quickstart` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FILE   := examples/quickstart/Modelfile

.PHONY: quickstart test check unit live live-ray parity golden fuzz bench bench-dev-engine soak clean

quickstart: $(VENV)/.setup-quickstart
	$(BIN)/modelkit up $(FILE) -s dev -d --wait
	eval "$$($(BIN)/modelkit env $(FILE))" && $(BIN)/python examples/quickstart/app.py
	@echo "It goes on serving. Talk to it: $(BIN)/modelkit chat -f $(FILE)   Stop it: $(BIN)/modelkit down $(FILE)"

test: check unit live

# Style, types and the direction of imports.
check: $(VENV)/.setup-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Everything that needs no engine, on all processors.
unit: $(VENV)/.setup-dev
	$(BIN)/pytest -n auto -m "not live_llamacpp and not live_vllm and not live_parity and not live_ray"

# The promises, on real llama.cpp and real vLLM.
live: $(VENV)/.setup-dev
	$(BIN)/modelkit engine install vllm --variant cpu
	$(BIN)/modelkit engine install llama.cpp --variant cpu
	$(BIN)/modelkit tool install converter
	$(BIN)/modelkit tool install compressor
	$(BIN)/pytest -m "live_llamacpp or live_vllm"

# Ray Serve LLM with vLLM on CPUs: its own environment, and ten slow minutes.
live-ray: $(VENV)/.setup-dev
	$(BIN)/modelkit engine install ray --variant cpu
	$(BIN)/pytest -m live_ray

# The whole conformance suite over three engines, side by side, and the page that says what differs. After `make live`.
parity: $(VENV)/.setup-dev
	$(BIN)/pytest tests/conformance -m "live_llamacpp or live_vllm or live_parity" --parity tests/conformance/parity.json
	$(BIN)/python -m tests.conformance.parity

golden: $(VENV)/.setup-dev
	$(BIN)/pytest -m "not live_llamacpp and not live_vllm and not live_parity and not live_ray" --update-golden

# Longer than the suite allows: other examples of every property, hostile headers, 10,000 mutations of each form.
fuzz: $(VENV)/.setup-dev
	$(BIN)/pytest -n auto --hypothesis-profile explore $$(grep -rl "from hypothesis" --include="test_*.py" tests/unit)
	$(BIN)/python -m tests.unit.models.test_gguf 10000
	$(BIN)/python -m tests.unit.language.test_fuzz $$(date +%s) 20000
	$(BIN)/python -m tests.unit.language.test_fuzz_ollama $$(date +%s) 20000
	$(BIN)/python -m tests.unit.models.test_safetensors 10000

# Half an hour of everything that clients do, on the dev engine.
soak: $(VENV)/.setup-dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[llama-cpp-python]'
	$(BIN)/python benchmarks/dev_soak.py

# The dev engine beside xllamacpp and llama_cpp.server; beside llama-server: python -m benchmarks.dev_engine --llama-cpp BUILD
bench-dev-engine: $(VENV)/.setup-dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[llama-cpp-python]' 'llama-cpp-python[server]'
	$(BIN)/python -m benchmarks.dev_engine

# Ratios against peers of the same run; results are in docs/benchmarks.md.
bench: $(VENV)/.setup-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/language.py
	$(BIN)/python benchmarks/edge.py
	$(BIN)/python benchmarks/contract_overhead.py
	$(BIN)/python benchmarks/dev_overhead.py
	$(BIN)/python benchmarks/prod_overhead.py --null
	$(BIN)/python benchmarks/prod_overhead.py
	$(BIN)/python benchmarks/readers.py
	$(BIN)/python benchmarks/download.py
	$(BIN)/python benchmarks/language_server.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "modelkit needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.setup-quickstart: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[quickstart]'
	@touch $@

$(VENV)/.setup-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.setup-quickstart

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
