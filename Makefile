# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= first-light

.PHONY: demo test check growth cost-backtest law-backtest schedule-backtest clean
.PHONY: corpus-benchmarks corpus-throughput corpus-duplicates corpus-memory corpus-filtered
.PHONY: faults powercuts refusals corruptions kills elastic overhead hostile fuzz soak

demo: $(VENV)/demo.stamp
	$(BIN)/headwater run $(RUN)

# two processes, each with whole files: tests of a file share what they prepare
test: $(VENV)/test.stamp .venv-hf4/transformers.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/test.stamp
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow"

growth: $(VENV)/test.stamp
	$(BIN)/python benchmarks/growth.py --json --markdown docs/performance.md

cost-backtest: $(VENV)/test.stamp
	$(BIN)/python benchmarks/cost_backtest.py --json

law-backtest: $(VENV)/test.stamp
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/law_backtest.py

schedule-backtest: $(VENV)/test.stamp
	$(BIN)/python benchmarks/schedule_backtest.py

# what a crash, a power cut, a disk that refuses, damage and kills at random do to a run
faults powercuts refusals corruptions kills: $(VENV)/test.stamp
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python benchmarks/reliability/$@.py --jobs 2

# other numbers of ranks on the way; what all of it costs
elastic overhead: $(VENV)/test.stamp
	$(BIN)/python benchmarks/reliability/$@.py

# two hours of training on two ranks with a fault a minute
soak: $(VENV)/test.stamp
	$(BIN)/python benchmarks/reliability/$@.py

hostile: $(VENV)/test.stamp
	$(BIN)/python benchmarks/reliability/hostile.py

fuzz: $(VENV)/fuzz.stamp
	$(BIN)/python benchmarks/reliability/fuzz/run.py $(if $(EXECUTIONS),--executions $(EXECUTIONS))

# the corpus chain beside the libraries that do parts of it; each in an environment of its own where they don't agree
corpus-benchmarks: corpus-throughput corpus-duplicates corpus-memory corpus-filtered

corpus-throughput: $(VENV)/texts.stamp .venv-datatrove/datatrove.stamp .venv-peers/peers.stamp
	$(BIN)/python benchmarks/corpus/throughput.py --datatrove-python .venv-datatrove/bin/python --peers-python .venv-peers/bin/python

corpus-duplicates: $(VENV)/texts.stamp .venv-peers/peers.stamp
	$(BIN)/python benchmarks/corpus/duplicates.py --peers-python .venv-peers/bin/python

corpus-memory corpus-filtered: $(VENV)/texts.stamp
	$(BIN)/python benchmarks/corpus/$(if $(filter corpus-memory,$@),memory,filtered_against_raw).py

$(VENV)/texts.stamp: $(VENV)/test.stamp
	$(BIN)/headwater corpus fetch standard
	@touch $@

.venv-datatrove/datatrove.stamp:
	@$(PYTHON) -m venv .venv-datatrove
	.venv-datatrove/bin/pip install --quiet --disable-pip-version-check "datatrove[io,processing]" spacy
	@touch $@

.venv-peers/peers.stamp:
	@$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check trafilatura lxml_html_clean datasketch rensa tiktoken tokenizers resiliparse
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "headwater needs Python 3.11 or newer; try: make PYTHON=python3.12 demo"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[corpus,hf]"
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[corpus,hf,dev]"
	@touch $@

$(VENV)/fuzz.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[corpus,hf,dev,fuzz]"
	@touch $@

# a second major version of transformers, beside the installed one, for the tests of the export
.venv-hf4/transformers.stamp: | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv-hf4 "transformers==4.57.6" "huggingface-hub<1" "tokenizers>=0.22,<0.23" requests urllib3 charset-normalizer idna certifi
	@touch $@

clean:
	rm -rf $(VENV) .venv-hf4 .venv-datatrove .venv-peers runs
