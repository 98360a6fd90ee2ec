# make venv · demo · test · test-fast · test-long · test-models · conformance · fuzz · soak · lint · docs · bench: each sets up .venv where it is missing or stale, then does it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .venv-bench/.installed

.PHONY: venv demo test test-fast test-long test-models conformance fuzz soak bench lint docs lock clean

venv: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; name another with make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --quiet --no-deps --editable .
	$(BIN)/python -m pip check
	@touch $@

demo: $(STAMP)
	$(BIN)/tf-landslide demo --out demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not full and not long"

test-fast: $(STAMP) # what most changes break, under two minutes
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not full and not long and not slow"

test-long: $(STAMP) # several workers, seeds, folds and kills: minutes
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "long and not full"

test-models: $(STAMP) # the paper's models at full size, and every encoder with every decoder
	$(BIN)/python -m pytest -m full tests/models tests/serving/test_full.py

conformance: $(STAMP) .conformance # TensorFlow Serving's own tests against the embedded server, FROM=a checkout of it; thousands of requests, over REST too, beside a Session
	PYTHONPATH=.conformance $(BIN)/python tests/serving/conformance.py $(FROM)
	PYTHONPATH=.conformance $(BIN)/python -m pytest -m full tests/serving/test_oracle.py tests/serving/test_oracle_rest.py

.conformance: # Keras 2, which those tests are written for
	$(BIN)/python -m pip install --quiet --no-deps --target $@ "tf_keras==2.21.*"

fuzz: $(STAMP) # every reader of strangers' files under damaged and made-up ones, SECONDS=60 each, from SEED=0; failing inputs in fuzz/
	$(BIN)/python -m tests.fuzz.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0) $(TARGETS)

soak: $(STAMP) # server and page at four times what they can do, SECONDS=600 each, to docs/reliability.md, or to OUT; let nothing else work meanwhile
	$(BIN)/python benchmarks/soak.py --seconds $(or $(SECONDS),600) $(if $(OUT),--out $(OUT),--out docs/images --report docs/reliability.md)

bench: $(STAMP) $(BENCH_STAMP) # ours beside its peers, to docs/performance.md; let nothing else work meanwhile
	$(BIN)/python benchmarks/bench.py

$(BENCH_STAMP): benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --no-deps -r benchmarks/requirements.txt
	@touch $@

lint: $(STAMP) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy -p tf_landslide -p serving

docs: $(STAMP) # the docs as a site, in site/
	$(BIN)/mkdocs build --strict --quiet

lock: # pin anew what pyproject.toml asks for, for every Python from 3.11
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links --extra page --extra serve --extra map --extra search --extra scale pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf .venv .venv-bench .conformance demo site
