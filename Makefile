# Two commands do all the set-up on a fresh machine: `make demo` and `make test`. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= first-light

define HELP
To begin with:
  make demo         install into .venv and train the demo run; RUN=NAME trains another recipe or run file
  make test         install what the tests need and run them all, on two cores
  make durations    the same, and write tests/durations.json
  make check        lint, check types, run the quick tests
  make test-post    tests of what TRL, lm-eval, trackers and Ray do, in an environment that has them

Measurements:
  make gpu                what a GPU shows in half an hour; GPU_OPTIONS="--peer nanoGPT=FOLDER"
  make under-load         tokens per second under load, beside the quiet rate
  make live-page          from a record to its pixel, the server's memory with 50 long runs, first paint
  make law-backtest       forecasts of loss against published tables of runs
  make cost-backtest      hours and power that a plan counts for GPUs against published whole runs
  make endpoint           the endpoint: load, latency, fuzzed requests; needs a finished RUN
  make corpus-benchmarks  the three below; they need `headwater corpus fetch standard`
  make corpus-throughput  speed beside datatrove, trafilatura and others
  make corpus-duplicates  duplicates found, beside datasketch and rensa
  make corpus-memory      memory and disk by amount of text

Reliability; results are in docs/reliability.md:
  make faults       a crash before every disk operation
  make powercuts    power lost at chance moments
  make refusals     a full or failing disk at every operation
  make corruptions  damaged checkpoints and token stores
  make drawn-runs   500 drawn run files: stopped, resumed, lengthened, compared bit by bit
  make kills        training killed at chance moments, resumed, compared bit by bit
  make parity       several ranks against one, in every layout; parity-faults with planted faults
  make reshard      what each layout saved, loaded in every other
  make weak-scaling one rank of one core against two, with as many tokens for each
  make lost-ranks   ranks killed, stopped and cut off: named, restarted, compared bit by bit
  make slurm        a run as a Slurm job that queues itself again; needs root and Debian's Slurm
  make mutants      planted faults in loss, order, optimizer, checkpoint …: how many the tests notice
  make hostile      ninety kinds of hostile file, up to 1 GB each

  make clean        remove the environments and runs/
endef
export HELP

.PHONY: demo help test test-post check gpu under-load cost-backtest law-backtest clean
.PHONY: llama-cpp endpoint live-page
.PHONY: corpus-benchmarks corpus-throughput corpus-duplicates corpus-memory
.PHONY: parity parity-faults reshard weak-scaling
.PHONY: faults powercuts refusals corruptions kills hostile lost-ranks slurm
.PHONY: drawn-runs mutants durations

demo: $(VENV)/demo.stamp
	$(BIN)/headwater run $(RUN)

help:
	@echo "$$HELP"

# two processes, each with whole files: tests of a file share what they prepare; in the order of tests/conftest.py
test: $(VENV)/test.stamp .venv-hf4/transformers.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# what each folder of tests takes, and every test over five seconds, on this machine
durations:
	HEADWATER_DURATIONS=tests/durations.json $(MAKE) test

check: $(VENV)/test.stamp
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-post: .venv-post/post.stamp
	.venv-post/bin/python -m pytest tests/downstream/test_preference.py tests/evaluate/test_harness.py tests/train/test_trackers.py tests/corpus/engine/test_ray.py

gpu: $(VENV)/test.stamp
	$(BIN)/python benchmarks/gpu/first_hour.py $(GPU_OPTIONS)

under-load: $(VENV)/test.stamp
	$(BIN)/python benchmarks/under_load.py

cost-backtest: $(VENV)/test.stamp
	$(BIN)/python benchmarks/cost_backtest.py

live-page: $(VENV)/test.stamp
	$(BIN)/python benchmarks/live_page.py

law-backtest: $(VENV)/test.stamp
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/law_backtest.py

endpoint: $(VENV)/test.stamp
	$(BIN)/python benchmarks/endpoint.py runs/$(RUN)

# what the test of GGUF files asks; 85 MB: no other backend than the processor's, and nothing that builds or downloads
llama-cpp: .llama-cpp/llama-cpp.stamp

NODE_LLAMA_CPP := 3.22.1
.llama-cpp/llama-cpp.stamp:
	@mkdir -p .llama-cpp && echo '{"private": true}' > .llama-cpp/package.json
	cd .llama-cpp && npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts node-llama-cpp@$(NODE_LLAMA_CPP)
	cd .llama-cpp && npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts @node-llama-cpp/linux-x64@$(NODE_LLAMA_CPP)
	@touch $@

# a crash, a power cut, a failing disk, damage and random kills: what each does to a run
faults powercuts refusals corruptions kills: $(VENV)/test.stamp
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python benchmarks/reliability/$@.py --jobs 2

drawn-runs: $(VENV)/test.stamp
	$(BIN)/python -m pytest tests/story/test_drawn_runs.py --hypothesis-profile many

mutants: .venv-mutants/mutants.stamp
	.venv-mutants/bin/python benchmarks/mutants.py

# what plants the faults, beside the environment of the tests
.venv-mutants/mutants.stamp: $(VENV)/test.stamp
	$(PYTHON) -m venv .venv-mutants
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > $$(.venv-mutants/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/tests.pth
	.venv-mutants/bin/pip install --quiet cosmic-ray
	@touch $@

# what several ranks compute, against one; the same with planted faults; what they save, loaded in other layouts
parity reshard weak-scaling: $(VENV)/test.stamp
	$(BIN)/python benchmarks/$(subst -,_,$@).py

parity-faults: $(VENV)/test.stamp
	$(BIN)/python benchmarks/parity.py --faults --steps 4

# needs root for network namespaces
lost-ranks: $(VENV)/test.stamp
	$(BIN)/python benchmarks/reliability/lost_ranks.py

slurm: $(VENV)/test.stamp
	$(BIN)/python benchmarks/reliability/slurm/requeue.py

hostile: $(VENV)/test.stamp
	$(BIN)/python benchmarks/reliability/hostile.py

# the corpus chain beside other libraries, in environments of their own where dependencies conflict
corpus-benchmarks: corpus-throughput corpus-duplicates corpus-memory

corpus-throughput: $(VENV)/texts.stamp .venv-datatrove/datatrove.stamp .venv-peers/peers.stamp
	$(BIN)/python benchmarks/corpus/speed.py --datatrove-python .venv-datatrove/bin/python --peers-python .venv-peers/bin/python

corpus-duplicates: $(VENV)/texts.stamp .venv-peers/peers.stamp
	$(BIN)/python benchmarks/corpus/duplicates.py --peers-python .venv-peers/bin/python

corpus-memory: $(VENV)/texts.stamp
	$(BIN)/python benchmarks/corpus/memory.py

$(VENV)/texts.stamp: $(VENV)/test.stamp
	$(BIN)/headwater corpus fetch standard
	@touch $@

.venv-datatrove/datatrove.stamp:
	@$(PYTHON) -m venv .venv-datatrove
	.venv-datatrove/bin/pip install --quiet --disable-pip-version-check "datatrove[io,processing]" spacy
	@touch $@

.venv-peers/peers.stamp:
	@$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check trafilatura lxml_html_clean datasketch rensa tokenizers resiliparse
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "headwater needs Python 3.11 or newer; try: make PYTHON=python3.12 demo"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	@echo "installing torch and what else headwater needs into $(VENV): a few minutes, without a line"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[corpus,hf]"
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[corpus,hf,dev]"
	@touch $@

# aiobotocore is named so that its botocore is chosen before moto asks for the newest boto3: an older pip does not go back on that
.venv-post/post.stamp: pyproject.toml
	@$(PYTHON) -m venv .venv-post
	.venv-post/bin/pip install --quiet --disable-pip-version-check -e ".[corpus,hf,post,eval,trackers,ray,s3]" "aiobotocore" "moto[server]" pytest pytest-timeout pytest-xdist hypothesis
	@touch $@

# a second major version of transformers, beside the installed one, for the tests of the export
.venv-hf4/transformers.stamp: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv-hf4 "transformers==4.57.6" "huggingface-hub<1" "tokenizers>=0.22,<0.23" requests urllib3 charset-normalizer idna certifi
	@touch $@

clean:
	rm -rf $(VENV) .llama-cpp .venv-hf4 .venv-post .venv-datatrove .venv-peers runs
