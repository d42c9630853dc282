"""What the benchmarks of the corpus count with is right: planted copies, exact similarity, measured processes."""

import itertools
import random
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from small_run import call, overrides, prose

FOLDER = Path(__file__).parents[2] / "benchmarks" / "corpus"


@pytest.fixture(autouse=True)
def _programs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def words(count, seed):
    chance = random.Random(seed)
    return [f"w{chance.randrange(400)}" for _ in range(count)]


def test_all_similar_pairs_are_those_of_a_comparison_of_all_with_all():
    from similar_pairs import earlier_similar, jaccard, shingle_set

    chance = random.Random(3)
    texts = [" ".join(words(60, seed)) for seed in range(30)]
    for text in list(texts):
        for _ in range(3):
            changed = text.split()
            for _ in range(chance.randrange(6)):
                changed[chance.randrange(len(changed))] = f"x{chance.randrange(1000)}"
            texts.append(" ".join(changed))
    chance.shuffle(texts)
    sets = [shingle_set(text) for text in texts]
    for threshold in (0.5, 0.8):
        expected = {}
        for first, second in itertools.combinations(range(len(sets)), 2):
            if jaccard(sets[first], sets[second]) >= threshold:
                expected.setdefault(second, []).append(first)
        assert earlier_similar(sets, threshold) == expected
        assert expected, "without any pair this says nothing"


def test_every_kind_of_planted_copy_differs_from_its_original_and_comes_back_the_same():
    from planting import CHANGES, plant

    texts = [
        "\n\n".join(" ".join(words(30, seed + part)).capitalize() + ", so. And on." for part in range(6))
        for seed in range(99)
    ]
    planted = list(plant(texts, 3, seed=5))
    assert {each.kind for each in planted} == set(CHANGES) and len(planted) == 3 * len(CHANGES)
    assert len({each.of for each in planted}) == len(planted), "a text is copied once at most"
    same = [each.kind for each in planted if each.text == texts[each.of]]
    assert len(same) < 8, f"one word of two hundred may be spared by chance, and parts may change places twice: {same}"
    assert planted == list(plant(texts, 3, seed=5))


def test_more_edits_make_less_similar_copies():
    from planting import edit_words
    from similar_pairs import jaccard, shingle_set

    text = " ".join(words(3000, 1))
    found = [
        jaccard(shingle_set(text), shingle_set(edit_words(fraction)(text, random.Random(1))))
        for fraction in (0.005, 0.02, 0.1)
    ]
    assert found == sorted(found, reverse=True) and found[0] > 0.9 and found[-1] < 0.5


def test_a_command_is_measured_with_its_children(tmp_path):
    from processes import run_measured

    child = "x = bytearray(80_000_000)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(1)"
    program = f"import subprocess, sys; print('said'); subprocess.run([sys.executable, '-c', {child!r}])"
    usage = run_measured([sys.executable, "-c", program], {}, tmp_path)
    assert usage.status == 0 and "said" in usage.tail
    assert usage.peak_bytes > 80_000_000 and usage.cpu_seconds > 0.02


def test_duplicates_are_counted_on_a_small_corpus(tmp_path):
    from duplicates import dropped_by_headwater, make_case
    from similar_pairs import earlier_similar, shingle_set

    texts = [" ".join(words(300, seed)) for seed in range(80)]
    case = make_case(texts, 2, seed=1)
    truth = set(earlier_similar([shingle_set(text) for text in case.texts], 0.8))
    dropped = dropped_by_headwater(case, tmp_path)
    assert dropped <= truth, "nothing is dropped that is no duplicate"
    assert len(dropped & truth) >= 0.8 * len(truth) > 0


def test_a_leaf_is_timed():
    program = [sys.executable, str(FOLDER / "chains" / "leaves.py"), "minhash:headwater", "/dev/stdin"]
    done = subprocess.run(program, input='{"text": "a b c d e f g h"}\n', capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"bytes": 15' in done.stdout


def test_a_stream_is_the_same_each_time_and_holds_the_copies_it_says(tmp_path):
    from similar_pairs import jaccard, shingle_set
    from stream import Stream, write_stream

    sentences = [
        " ".join(f"word{chance}" for chance in random.Random(seed).choices(range(900), k=14)) for seed in range(400)
    ]
    letters = str.maketrans("0123456789", "abcdefghij")
    texts = [
        ". ".join(sentence.translate(letters) for sentence in sentences[at : at + 40]) + "." for at in range(0, 400, 40)
    ]
    stream = Stream(texts)
    made = [stream.document(number) for number in range(1200)]
    assert made == [Stream(texts).document(number) for number in range(1200)]
    copies = [number for number in range(1200) if made[number] in made[:number]]
    assert copies == [number for number in range(10, 1200) if number % 10 == 8]
    near = [shingle_set(made[number]) for number in range(19, 60, 10)]
    originals = [shingle_set(made[number]) for number in range(8)]
    assert all(0.5 < max(jaccard(copy, original) for original in originals) < 1 for copy in near)
    assert write_stream(stream, tmp_path / "given", 400_000, 150_000) > 100
    assert len(list((tmp_path / "given").iterdir())) == 3


def test_filtered_and_raw_are_trained_and_judged_on_the_same_text(tmp_path, monkeypatch):
    import filtered_against_raw
    from filtered_against_raw import measure, section

    def do_here(command):
        """Do what a command does, without the seconds that a process needs to start."""
        program, *arguments = command[1:]
        if program == "-m":
            assert call(*arguments[1:], cwd=tmp_path).status == 0
        else:
            monkeypatch.setattr(sys, "argv", [program, *arguments])
            runpy.run_path(program, run_name="__main__")

    monkeypatch.setattr(filtered_against_raw, "_run", do_here)
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(120):
        (tree / f"{number:03d}.txt").write_text(prose(number % 90, 30), encoding="utf-8")  # thirty are copies
    (tree / "junk.txt").write_text("= - = " * 900, encoding="utf-8")
    arguments = Namespace(
        texts="nowhere", sources="", tree=[f"manuals={tree}"], seeds=1, set=overrides(train__num_steps=6)
    )
    figures = measure(arguments, tmp_path / "work")
    counts, kept = figures["parted"]["manuals"], figures["kept"]
    assert counts["held_out"] > 0 and counts["training"] + counts["shared"] + counts["held_out"] == 121
    assert kept["filtered"]["bytes"] < kept["raw"]["bytes"], "the copies and the junk are in the raw corpus alone"
    assert all(1 < figures["results"][variant][0] < 9 for variant in ("filtered", "raw")), figures["results"]
    assert "Filtered less raw" in section(figures)
