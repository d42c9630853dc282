"""The playground: what it answers, what it refuses, and its page in a real browser."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import asking
import pytest
from live_server import Opened

from headwater.evaluate.generate import NextToken
from headwater.page.serve import playground
from headwater.page.serve.playground import MAX_CHARACTERS, MAX_MODELS, Models
from headwater.page.serve.serving import make_app
from headwater.runs.library.model import Model
from headwater.runs.summary import RunsFolder

HOSTILE = "</textarea><script>window.ran = 1</script><img src=x onerror='window.ran = 1'> \"'& \u202e\u2066 &lt;b&gt;"
HOSTILE_NAME = "<img src=x onerror='window.ran = 1'>\u202e"
TEXT = "The river"


@pytest.fixture(scope="module")
def runs(finished, tmp_path_factory):
    """A folder with a finished run, under a hostile name too, beside a folder that is no run."""
    folder = tmp_path_factory.mktemp("playground")
    for name in ("mine", HOSTILE_NAME):
        (folder / name).symlink_to(finished.run_dir)
    (folder / "no run").mkdir()
    return folder


@pytest.fixture(scope="module")
def steps(finished):
    return sorted(Model.steps(finished.run_dir), reverse=True)


@pytest.fixture(scope="module")
def post(app, steps):
    def post(what: str, question: object | None = None, **more: object):
        question = {"run": "mine", "step": steps[0], "text": TEXT, **more} if question is None else question
        return asking.post(app, f"/playground/{what}", question)

    return post


def test_the_run_that_was_heard_of_last_comes_first(finished, steps, tmp_path):
    for name, seconds in (("a", 1), ("b", 3), ("c", 2)):
        shutil.copytree(finished.run_dir / "checkpoints", tmp_path / name / "checkpoints")
        record = {"event": "finish", "step": steps[0], "attempt": 1, "time": time.time() - 1000 + seconds}
        (tmp_path / name / "records.jsonl").write_text(json.dumps(record) + "\n")
    assert [(run.name, kept) for run, kept in Models(RunsFolder(tmp_path)).runs()] == [
        ("b", steps),
        ("c", steps),
        ("a", steps),
    ]


def test_next_tokens_are_those_of_the_model_at_that_temperature(post, finished, steps):
    for step in steps[:2]:
        model = Model.load(finished.run_dir, step)
        for temperature in (0, 0.5, 1.0):
            found = post("next", step=step, temperature=temperature, k=5).json()["tokens"]
            expected = model.next(TEXT, 5, temperature)
            assert [each["probability"] for each in found] == [each.probability for each in expected]
    sharper = [post("next", temperature=each).json()["tokens"][0]["probability"] for each in (2, 1, 0.5, 0)]
    assert sharper == sorted(sharper) and sharper[-1] == 1


LONG = f"at most {MAX_CHARACTERS} characters"
REFUSED = [  # what is asked beside what means something, and a word of the refusal
    ({"text": "x" * (MAX_CHARACTERS + 1)}, LONG), ({"text": "x" * 1_000_000}, LONG), ({"text": 7}, "text"),
    *[({"run": name}, "there is no run") for name in ("../mine", "/etc", "no run", "mine\x00")],
    ({"step": 7777}, "step 7777"), ({"step": "1"}, "step"), ({"temperature": -1}, "temperature"),
    ({"temperature": 1e300}, "temperature"), ({"k": 0}, "k"), ({"max_tokens": 10**9}, "max_tokens"), ({"more": 1}, "more"),
    ({f"more {number}": 1 for number in range(1000)}, "more 0: "),
]  # fmt: skip
BODIES = [b"", b"[]", b"\xff", b"{", b'{"run": "\\ud800"}', b"[" * 100_000, b"1e999", b"NaN"]


def test_a_question_that_means_nothing_is_refused_and_named(post, steps):
    for what in ("next", "surprise", "write"):
        for more, word in REFUSED:
            answer = post(what, **more)
            assert 400 <= answer.status_code < 500 and word in answer.json()["error"]["message"], answer.text
        half = json.dumps({"run": "mine", "step": steps[0], "text": "\ud800"}).encode()
        for body in (*BODIES, half):
            assert 400 <= post(what, body).status_code < 500, body
    assert [post("trace", body).status_code // 100 for body in BODIES] == [4] * len(BODIES)
    assert post("trace", {"run": "mine", "text": " "}).status_code == post("surprise", text="").status_code == 400
    assert post("next", text="").status_code == 200


def test_few_models_are_kept(runs, steps, monkeypatch):
    loaded: list[int] = []
    weights = SimpleNamespace(parameters=lambda: [SimpleNamespace(nbytes=100)])
    monkeypatch.setattr(
        Model, "load", lambda folder, step: loaded.append(step) or SimpleNamespace(step=step, transformer=weights)
    )
    models = Models(RunsFolder(runs))
    asked = [(run, step) for run in ("mine", HOSTILE_NAME) for step in steps[:2]]
    assert len(asked) > MAX_MODELS
    for run, step in [*asked, asked[-1]]:
        assert models.get(run, step).step == step
    assert len(loaded) == len(asked), "the last one is kept"
    assert len(models._kept) == MAX_MODELS
    monkeypatch.setattr(playground, "BYTES_PER_WEIGHT", 0)
    for max_bytes, kept in ((299, 3), (199, 2), (99, 1)):  # 100 of each that is kept, and of a new one none
        models._max_bytes = max_bytes
        assert models.get(*next(one for one in asked if (*one,) not in {key[:2] for key in models._kept}))
        assert len(models._kept) == kept


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(runs, steps, monkeypatch):
    monkeypatch.setattr(Model, "load", lambda *given: pytest.fail("it was loaded"))
    monkeypatch.setattr(playground, "available_bytes", lambda: 1000)
    for what in ("next", "surprise", "write"):
        question = {"run": "mine", "step": steps[0], "text": TEXT}
        answer = asking.post(make_app(runs), f"/playground/{what}", question)
        assert answer.status_code == 422 and "of memory are free" in answer.json()["error"]["message"]


# ---- the page


class Playground(Opened):
    """The playground in a tab."""

    ready = "html[data-state=shown]"

    def shown_after(self, act: Callable[[], object], state: str = "shown") -> None:
        self.tab.evaluate("document.documentElement.dataset.state = 'typing'")
        act()
        self.tab.wait_for_selector(f"html[data-state={state}]")

    def type(self, text: str, state: str = "shown") -> None:
        self.shown_after(lambda: self.tab.fill("#text", text), state)

    def choose(self, which: int, label: str) -> None:
        self.shown_after(lambda: self.tab.select_option(f"#model-{which}", label=label))

    def texts(self, selector: str) -> list[str]:
        return self.tab.locator(selector).all_text_contents()


@pytest.fixture(scope="module")
def app(runs):
    return make_app(runs)


@pytest.fixture
def page(open_page, address) -> Iterator[Playground]:
    page = open_page(f"{address}playground?run=mine", Playground, viewport={"width": 1100, "height": 900})
    yield page
    assert page.errors == [] == page.foreign_requests


def test_bars_show_the_next_tokens_and_a_click_adds_one(page, finished, steps):
    model = Model.load(finished.run_dir, steps[0])
    page.type(TEXT)
    expected = model.next(TEXT, 12)
    assert page.texts("#next .bar .token") == [each.token.replace(" ", "␣") for each in expected] or "\ufffd" in str(
        expected
    )
    number = next(at for at, each in enumerate(expected) if "\ufffd" not in each.token and each.token.isprintable())
    page.shown_after(page.tab.locator("#next .bar").nth(number).click)
    assert page.tab.input_value("#text") == TEXT + expected[number].token
    again = model.next(TEXT + expected[number].token, 1)[0].probability
    assert page.texts("#next .bar .percent")[0] == f"{100 * again:.{2 if again < 0.1 else 1}f} %"


def test_the_temperature_sharpens_the_bars_and_text_is_written_on(page):
    before = page.texts("#next .percent")[0]
    page.shown_after(lambda: page.tab.fill("#temperature", "0"))
    assert page.texts("#next .percent")[0] == "100.0 %" != before
    assert page.texts("#shown-temperature") == ["0.0"]
    given = page.tab.input_value("#text")
    page.tab.click("#write")
    page.tab.wait_for_selector("#write:enabled")
    written = page.tab.input_value("#text")
    assert written.startswith(given) and len(written) > len(given)


def test_what_the_training_text_says_is_found(page):
    page.tab.fill("#wanted", "in no document, I hope")
    page.tab.press("#wanted", "Enter")
    page.tab.wait_for_selector("text=0 documents hold this text.")
    page.tab.fill("#wanted", "Assert statements are   a convenient")
    page.tab.press("#wanted", "Enter")
    page.tab.wait_for_selector("#hits mark")
    assert page.texts("#hits mark")[0] == "Assert statements are a convenient"
    page.type("Assert")
    page.tab.locator("#next .find:enabled").first.click()
    page.tab.wait_for_selector("#found:has-text('hold')")
    assert page.tab.input_value("#wanted").startswith("Assert")


def test_hostile_text_is_text(page, monkeypatch):
    hostile = [NextToken(HOSTILE, 0.5), NextToken("a\u202eb", 0.3)]
    monkeypatch.setattr(Model, "next", lambda *_: hostile)
    assert any(f"{HOSTILE_NAME[:-1]}\\u202e, step" in option for option in page.texts("#model-1 option"))
    page.type(HOSTILE)
    assert page.tab.input_value("#text") == HOSTILE
    shown = page.texts("#next .bar .token")
    assert "<script>window.ran" in shown[0] and shown[1] == "a\\u202eb"
    surprise = "".join(page.texts("#surprise .piece .token")).replace("␣", " ")
    assert "\u202e" not in surprise and "script>window.ran" in surprise and "\\u202e" in surprise
    page.tab.fill("#wanted", HOSTILE)
    page.tab.press("#wanted", "Enter")
    page.tab.wait_for_selector("text=0 documents hold this text.")
    assert page.tab.evaluate("window.ran") is None
    assert page.tab.locator("main img, main script").count() == 0


def test_a_text_that_is_too_long_is_refused_in_words(page):
    page.type("x" * 1_000_000, state="refused")
    assert "more than 20,000 characters" in page.texts("#problem")[0]
    page.type(TEXT)
    assert page.texts("#problem") == [""]


@pytest.mark.parametrize(("width", "scheme"), [(420, "dark"), (1100, "light")])
def test_the_page_fits_and_everybody_can_use_it(open_page, address, steps, scheme, width):
    view = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page = open_page(f"{address}playground?run=mine", Playground, **view)
    page.choose(2, f"mine, step {steps[1]}")
    page.require_usable(width)
    page.tab.focus("#text")
    reached = []
    for _ in range(4):
        page.tab.keyboard.press("Tab")
        reached.append(page.tab.evaluate("document.activeElement.className"))
    assert {"bar", "find"} <= set(reached), "by the keyboard"
