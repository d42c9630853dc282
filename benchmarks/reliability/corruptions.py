"""Random damage, ten thousand times: is any of it ever loaded?

    python benchmarks/reliability/corruptions.py [--count 10000] [--seed 1] [--json FILE] [--markdown FILE]

Half of the damage is done to a checkpoint with a good one before it, half to a token store. Damage to a checkpoint is
caught when it is put aside and the one before it is loaded, bit by bit; damage to a store when opening it is refused.
Anything else is a silent load and a failure. Damage that changes no byte is drawn again. Exit status 1 on a failure.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import figures
from headwater.core.errors import HeadwaterError
from headwater.tokens.read import open_stores
from headwater.train.checkpoint.layout import checkpoint_dir
from targets import Place, is_made_up_state, other_corpus, quiet, read_newest, save, templates
from trials import required, say, trial

Chance = random.Random


def flip_bit(files: list[Path], others: list[Path], chance: Chance) -> None:
    path, data = _chosen(files, chance)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def swap_bytes(files: list[Path], others: list[Path], chance: Chance) -> None:
    path, data = _chosen(files, chance)
    first, second = chance.randrange(len(data)), chance.randrange(len(data))
    data[first], data[second] = data[second], data[first]
    path.write_bytes(data)


def swap_neighbours(files: list[Path], others: list[Path], chance: Chance) -> None:
    path, data = _chosen(files, chance)
    at = chance.randrange(len(data) - 1)
    data[at], data[at + 1] = data[at + 1], data[at]
    path.write_bytes(data)


def truncate(files: list[Path], others: list[Path], chance: Chance) -> None:
    path, data = _chosen(files, chance)
    path.write_bytes(data[: chance.randrange(len(data))])


def grow(files: list[Path], others: list[Path], chance: Chance) -> None:
    path, data = _chosen(files, chance)
    path.write_bytes(data + chance.choice([b"\0", b"\n", b" ", b"}"]) * chance.randint(1, 4096))


def fill_with_zeros(files: list[Path], others: list[Path], chance: Chance) -> None:
    path, data = _chosen(files, chance)
    start = chance.randrange(len(data))
    length = min(chance.choice([1, 16, 512, 4096]), len(data) - start)
    path.write_bytes(data[:start] + bytes(length) + data[start + length :])


def swap_files(files: list[Path], others: list[Path], chance: Chance) -> None:
    first, second = chance.sample(files, 2)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def lose_file(files: list[Path], others: list[Path], chance: Chance) -> None:
    chance.choice(files).unlink()


def repeat_file(files: list[Path], others: list[Path], chance: Chance) -> None:
    first, second = chance.sample(files, 2)
    shutil.copyfile(first, second)


def take_file_of_another(files: list[Path], others: list[Path], chance: Chance) -> None:
    """Put a file of another step, or of another store, in the place of one: its manifest, at times."""
    path = chance.choice(files)
    shutil.copyfile(chance.choice([other for other in others if other.name == path.name] or others), path)


def take_manifest_of_another(files: list[Path], others: list[Path], chance: Chance) -> None:
    manifests = [path for path in files if path.name == "manifest.json"]
    path = chance.choice(manifests)
    shutil.copyfile(chance.choice([other for other in others if other.name == path.name]), path)


DAMAGES: list[Callable[[list[Path], list[Path], Chance], None]] = [
    flip_bit,
    swap_bytes,
    swap_neighbours,
    truncate,
    grow,
    fill_with_zeros,
    swap_files,
    lose_file,
    repeat_file,
    take_file_of_another,
    take_manifest_of_another,
]


def _chosen(files: list[Path], chance: Chance) -> tuple[Path, bytearray]:
    path = chance.choice([path for path in files if path.stat().st_size > 1])
    return path, bytearray(path.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="corruptions in all (10000)")
    parser.add_argument("--seed", type=int, default=1, help="decides them (1)")
    chosen = parser.parse_args(arguments)
    started_at = time.perf_counter()
    with templates(chosen.work) as work_dir:
        results = []
        for what, victim in (("checkpoint", damaged_checkpoint), ("token store", damaged_store)):
            count = chosen.count // 2
            judge = lambda victim=victim, count=count: victim(work_dir, count, chosen.seed)  # noqa: E731
            outcome = required(trial(judge, timeout_seconds=7200), f"damaging a {what}")
            results.append({"what": what, **outcome.value})
            say(f"{what}: {results[-1]}")
    found = {"what": "corruptions", **figures.facts(), "seed": chosen.seed, "victims": results}
    found["seconds"] = round(time.perf_counter() - started_at, 1)
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    return int(any(result["silent"] for result in results))


def damaged_checkpoint(work_dir: Path, count: int, seed: int) -> dict[str, Any]:
    """Damage the second of two checkpoints `count` times; return how often the first was taken, by kind of damage."""
    place = Place(work_dir / "tiny.toml", work_dir / "checkpoints")
    for step in (1, 2):
        save(place, step)
    second, first = checkpoint_dir(place.run_dir, 2), checkpoint_dir(place.run_dir, 1)

    def is_caught() -> bool:
        found = read_newest(place.run_dir, quiet)
        aside = second.with_name(f"damaged-{second.name}")
        is_put_aside = aside.exists() and not second.exists()
        shutil.rmtree(aside, ignore_errors=True)
        return found is not None and found.step == 1 and is_put_aside and not is_made_up_state(place)

    return damage_often(second, sorted(first.iterdir()), is_caught, Chance(f"checkpoint {seed}"), count)


def damaged_store(work_dir: Path, count: int, seed: int) -> dict[str, Any]:
    """Damage the token stores of a run `count` times; return how often they were refused, by kind of damage."""
    tokens, other = work_dir / "tokens", work_dir / "other-tokens"
    shutil.copytree(work_dir / "templates/prepared/tiny/data/tokens", tokens)
    place = Place(work_dir / "tiny.toml", work_dir / "other-run")
    other_corpus(place)
    shutil.copytree(place.run_dir / "data/tokens", other)

    def is_caught() -> bool:
        try:
            for split in ("train", "validation"):
                open_stores(tokens, split)
        except HeadwaterError:
            return True
        return False

    others = sorted(path for path in other.rglob("*") if path.is_file())
    return damage_often(tokens, others, is_caught, Chance(f"store {seed}"), count)


def damage_often(
    victim: Path, others: list[Path], is_caught: Callable[[], bool], chance: Chance, count: int
) -> dict[str, Any]:
    good = {path.relative_to(victim): path.read_bytes() for path in sorted(victim.rglob("*")) if path.is_file()}
    kinds = {damage.__name__.replace("_", " "): [0, 0] for damage in DAMAGES}
    silent: list[str] = []
    for number in range(count):
        damage = DAMAGES[number % len(DAMAGES)]
        name = damage.__name__.replace("_", " ")
        while True:
            restore(victim, good)
            damage([victim / path for path in good], others, chance)
            changed = [str(path) for path in good if not _holds(victim / path, good[path])]
            if changed:
                break
        kinds[name][0] += 1
        if is_caught():
            kinds[name][1] += 1
        else:
            silent.append(f"{name} of {', '.join(changed)} (number {number})")
    return {"tried": count, "caught": count - len(silent), "silent": silent, "kinds": kinds}


def restore(victim: Path, good: dict[Path, bytes]) -> None:
    for path, data in good.items():
        if not _holds(victim / path, data):
            (victim / path).parent.mkdir(parents=True, exist_ok=True)
            (victim / path).write_bytes(data)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def section(found: dict[str, Any]) -> str:
    """Return the page's section."""
    victims = found["victims"]
    rows = [
        [kind, *(f"{victim['kinds'][kind][1]:,} of {victim['kinds'][kind][0]:,}" for victim in victims)]
        for kind in victims[0]["kinds"]
    ]
    rows.append(["**all**", *(f"{victim['caught']:,} of {victim['tried']:,}" for victim in victims)])
    silent = sum(len(victim["silent"]) for victim in victims)
    header = ["damage", *(f"{victim['what']}: caught" for victim in victims)]
    return "\n\n".join(
        [
            "## Random damage",
            "*Caught*, for a checkpoint: it is put aside and the one before it is loaded, bit by bit. For a token "
            f"store: opening it is refused. Loaded silently: {silent}.",
            figures.markdown_table(header, rows),
            f"Seed {found['seed']}, {found['seconds']:,.0f} s. {figures.made(found)}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
