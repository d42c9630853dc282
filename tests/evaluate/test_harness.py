"""lm-evaluation-harness on our model: its figures against the scorer's and the generator's own."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from made_models import random_model, trained_tokenizer

from headwater.core.conversations import USER, Message
from headwater.core.errors import ConfigError, EvaluationError
from headwater.core.intervals import share
from headwater.corpus.samples.almanac.probes import Choice
from headwater.evaluate.cloze import score_choices
from headwater.evaluate.generate import continued, likeliest
from headwater.evaluate.scorer import Scorer
from headwater.evaluate.tasks import TaskScore, score_text, write_task_files
from headwater.tokens.tokenizer.conversation import prompt_ids
from headwater.tokens.tokenizer.tokenizer import Tokenizer

pytest.importorskip("lm_eval", reason="lm-eval is not installed; `make test-post` installs it")
pytestmark = pytest.mark.filterwarnings("ignore")  # of its many libraries

from headwater.evaluate.harness import HarnessModel, run_tasks, score_of  # noqa: E402

WORDS = ["river", "source", "stream", "water", "falls", "north", "over", "under", "the", "and", "of", "a", "to", "was"]
SEQ_LEN = 32


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    return trained_tokenizer(tmp_path_factory.mktemp("harness") / "tokenizer", text(0, 2000))


@pytest.fixture(scope="module")
def scorer(tokenizer) -> Scorer:
    return Scorer(random_model(vocab_size=tokenizer.vocab_size, seq_len=SEQ_LEN))


@pytest.fixture(scope="module")
def plain(scorer, tokenizer) -> HarnessModel:
    return HarnessModel(scorer, tokenizer, is_chat=False)


def text(seed: int, num_words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=num_words))


def asked(*arguments) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


def choices(num: int) -> list[Choice]:
    prompts = ["", *(text(seed, 5) for seed in range(num - 1))]
    return [
        Choice(prompt, tuple(f" {word}" for word in WORDS[:4]), number % 4, "") for number, prompt in enumerate(prompts)
    ]


def test_tasks_written_for_probes_score_what_our_scorer_does(tmp_path, plain, scorer, tokenizer):
    items = choices(40)
    assert write_task_files(tmp_path, "mine", {"words": items}) == ["mine-words"]
    (score,) = run_tasks(plain, [str(tmp_path)], [])
    right = score_choices(scorer, tokenizer, items)["right"]
    expected = share(round(40 * right), 40)
    assert score == TaskScore("mine-words", "acc", right, expected.low, expected.high, True, 40)
    assert 0 < expected.low < right < expected.high < 1


@pytest.mark.parametrize(
    ("value", "error", "num_items", "shown"),
    [
        (1.0, 0.0, 50, "100.0% (92.9% to 100.0%)"),
        (0.0, 0.0, 50, "0.0% (0.0% to 7.1%)"),
        (0.5, 0.01, 50, "0.5 (0.4804 to 0.5196)"),  # a mean of what isn't right or wrong alone
        (12.5, 0.25, 50, "12.5 (12.01 to 12.99)"),
        (0.5, "N/A", 50, "0.5"),
    ],
)
def test_a_share_of_items_has_the_interval_of_one(value, error, num_items, shown):
    found = score_of("words", "acc", value, error, num_items)
    assert score_text(found.value, found.low, found.high, found.is_share) == shown


def test_likelihoods_are_of_prompt_and_continuation_tokenized_together(plain, scorer, tokenizer):
    prompt, rest = text(1, 6), " " + text(2, 4)
    found = plain.loglikelihood([asked(prompt + " ", rest.strip()), asked("", rest)])
    whole, before = tokenizer.encode(prompt + rest), len(tokenizer.encode(prompt))
    pairs = [([tokenizer.begin_id, *whole[:before]], whole[before:]), ([tokenizer.begin_id], tokenizer.encode(rest))]
    assert [each[0] for each in found] == scorer.loglikelihood(pairs).tolist()


def test_a_continuation_is_greedy_where_each_of_its_tokens_is_the_likeliest(plain, scorer, tokenizer):
    ids = tokenizer.encode(text(3, 4))
    (likely,) = continued(scorer, [[tokenizer.begin_id, *ids]], 3, ends=())
    other = [*likely[:-1], (likely[-1] + 1) % tokenizer.vocab_size]
    found = plain._loglikelihood_tokens([(None, [tokenizer.begin_id, *ids], each) for each in (likely, other)])
    assert [is_greedy for _, is_greedy in found] == [True, False]


def test_a_text_is_scored_in_windows_that_do_not_overlap(plain, scorer, tokenizer):
    longer = text(4, 90)
    ids = tokenizer.encode(longer)
    assert len(ids) > 2 * SEQ_LEN
    expected, known = 0.0, [tokenizer.begin_id]
    for first in range(0, len(ids), SEQ_LEN):
        part = ids[first : first + SEQ_LEN]
        if len(part) < SEQ_LEN:  # the last window is full, too, and what was scored stands before it
            known = ids[len(ids) - SEQ_LEN - 1 : first]
        expected += scorer.loglikelihood([(known, part)])[0]
        known = part[-1:]
    assert plain.loglikelihood_rolling([asked(longer)]) == pytest.approx([expected], rel=1e-6)


def test_text_is_generated_up_to_a_stop_or_so_many_tokens(plain, scorer, tokenizer):
    prompts = [text(seed, 3 + seed) for seed in range(5)]
    whole = [likeliest(scorer, tokenizer, [prompt], 8)[0] for prompt in prompts]
    options = {"until": [], "max_gen_toks": 8, "do_sample": False}
    assert plain.generate_until([asked(prompt, options) for prompt in prompts]) == whole
    stop = whole[2][3:5]
    stopped = plain.generate_until([asked(prompts[2], options | {"until": [stop, ""]})])
    assert stopped == [whole[2][: whole[2].index(stop)]]


def test_a_prompt_asked_twice_gets_two_answers_where_they_are_drawn(plain):
    options = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0}
    once = plain.generate_until([asked("the river", options), asked("the river", options)])
    assert once[0] != once[1]
    assert once == plain.generate_until([asked("the river", options), asked("the river", options)])


def test_a_tuned_model_reads_turns_and_a_message_that_spells_a_token_stays_text(scorer, tokenizer):
    model, said = HarnessModel(scorer, tokenizer, is_chat=True), "the <|im_end|> river"
    prompt = model.apply_chat_template([{"role": USER, "content": said}])
    ids = prompt_ids(tokenizer, [Message(USER, said)])
    assert ids.count(tokenizer.special["<|im_end|>"]) == 1
    assert model._encode_pair(prompt, "water") == (ids, tokenizer.encode("water"))
    begun = model.apply_chat_template([{"role": USER, "content": said}, {"role": "assistant", "content": "It"}], False)
    assert model.tok_encode(begun) == ids + tokenizer.encode("It")


def test_a_folder_without_tasks_and_a_task_without_its_data_are_errors_in_words(tmp_path, plain):
    with pytest.raises(ConfigError, match="no task file"):
        run_tasks(plain, [str(tmp_path)], [])
    write_task_files(tmp_path, "mine", {"words": choices(2)})
    (tmp_path / "mine-words.jsonl").unlink()
    with pytest.raises(EvaluationError, match="isn't on this disk"):
        run_tasks(plain, [str(tmp_path)], [])
