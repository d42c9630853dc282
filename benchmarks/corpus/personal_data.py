"""Personal data made by libraries, in sentences of ten languages: what is found of it, and what is taken for it.

`python personal_data.py [SHOWN]`: numbers are those of `phonenumbers` (its examples, the last digits drawn until they
are valid), addresses are made under every top-level domain, tokens are the samples that gitleaks' rules are tested
with, three a rule, written by its own generator (cmd/generate/config with Validate made to print) and kept with the
tests: a line {"rule", "text", "secrets"} each. SHOWN mistakes are printed.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import string
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from headwater.corpus.personal.replace import redact

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "tests/corpus/personal/gitleaks_samples.jsonl.gz"
DOMAINS = HERE.parents[1] / "src/headwater/corpus/personal/data/domains.txt"
KINDS = ["email", "phone", "ip_address", "private_key", "token", "password"]
# seen while the code was written, and held out; so is every other top-level domain, and every other rule
REGIONS = (
    "DE FR GB US CN JP RU IN BR IT ES NL CH AT PL TR MX AR KR AU",
    "PT BE SE NO DK FI IE GR CZ SK HU RO BG HR RS UA BY LT LV EE "
    "IL SA AE EG MA DZ TN KE NG ZA GH ET ID MY TH VN PH PK BD NZ",
)
LANGUAGES = ("en de fr ru zh", "es pt ja ar hi")
TEXTS = tomllib.loads((HERE / "personal_sentences.toml").read_text(encoding="utf-8"))
LETTERS = {"#": string.digits, "%": "123456789", "~": "0123456789abcdef"}


@dataclass(frozen=True)
class Case:
    """A text, what must be gone from it, and the kinds that it may be called; without a kind, nothing may be found."""

    group: str
    text: str
    planted: list[str]
    kinds: set[str]

    def outcome(self) -> tuple[bool, int]:
        """Return whether all that was planted is gone, and how many other things."""
        redacted, replaced = redact(self.text, KINDS)
        left = _letters(redacted)
        is_found = bool(set(replaced) & self.kinds) and not any(_letters(each) in left for each in self.planted)
        return is_found, sum(len(found) for kind, found in replaced.items() if kind not in self.kinds)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def number_of(rng: random.Random, region: str) -> phonenumbers.PhoneNumber:
    """Return a valid number of a region: an example of the library with four other digits at its end."""
    kind = rng.choice([PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    digits = phonenumbers.national_significant_number(example)
    while True:
        ending = "".join(rng.choices(string.digits, k=4))
        number = phonenumbers.parse(f"+{example.country_code}{digits[:-4]}{ending}")
        if phonenumbers.is_valid_number(number) and "55501" not in str(number.national_number):  # films' numbers
            return number


def positives(rng: random.Random, half: int, samples: list[dict[str, Any]]) -> Iterator[Case]:
    """Yield the cases of one half of all; those whose group is in brackets are counted by themselves."""
    languages = LANGUAGES[half].split()
    for region in REGIONS[half].split():
        for _ in range(10):
            number, texts = number_of(rng, region), TEXTS["languages"][rng.choice(languages)]
            national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
            abroad = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
            yield Case("national", rng.choice(texts["phone"]).format(national), [national], {"phone"})
            yield Case("international", rng.choice(texts["phone"]).format(abroad), [abroad], {"phone"})
            yield Case("international, no word before", texts["bare"].format(abroad), [abroad], {"phone"})
            yield Case("(national, no word before)", texts["bare"].format(national), [national], {"phone"})
    lines = [line for line in DOMAINS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for domain in " ".join(lines).split()[half::2]:
        texts = TEXTS["languages"][rng.choice(languages)]
        address = f"{rng.choice(texts['names'])}@{''.join(rng.choices(string.ascii_lowercase, k=7))}.{domain}"
        yield Case("email", texts["write"].format(address), [address], {"email"})
    for sample in samples:
        text = TEXTS["languages"][rng.choice(languages)]["plain"].format(sample["text"])
        yield Case("token", text, sample["secrets"], {"token", "password"})


def negatives(rng: random.Random, half: int, count: int) -> Iterator[Case]:
    for number in range(count):
        group = list(TEXTS["negatives"])[number % len(TEXTS["negatives"])]
        template = rng.choice(TEXTS["negatives"][group])
        filled = re.sub("[#%~]", lambda sign: rng.choice(LETTERS[sign.group()]), template)
        texts = TEXTS["languages"][rng.choice(LANGUAGES[half].split())]
        yield Case(f"not {group}", texts["plain"].format(filled), [], set())


def measure(half: int, samples: list[dict[str, Any]], shown: int) -> None:
    rng = random.Random(2026 + half)
    planted = list(positives(rng, half, samples))
    cases = [*planted, *negatives(rng, half, sum(case.group[0] != "(" for case in planted))]
    total, found, others = Counter[str](), Counter[str](), Counter[str]()
    wrong = []
    for case in cases:
        is_found, num_others = case.outcome()
        total[case.group] += 1
        found[case.group] += is_found
        others[case.group] += num_others
        wrong += [case] if num_others or (case.kinds and not is_found) else []
    groups = [group for group in total if not group.startswith(("(", "not "))]
    hits, size = (sum(counts[group] for group in groups) for counts in (found, total))
    precision = hits / (hits + others.total())
    print(f"{['seen', 'held out'][half]}: recall {hits / size:.3f}, precision {precision:.3f}, n = {size}")
    rates = [
        f"   {group}: {found[group] / total[group]:.3f} of {total[group]}" for group in total if group[:4] != "not "
    ]
    print(*rates, sep="\n")
    print(
        "   taken for some:",
        ", ".join(f"{group} {others[group]} of {total[group]}" for group in total if others[group]),
    )
    print(*rng.sample(wrong, min(shown, len(wrong))), sep="\n")


def main() -> None:
    lines = [json.loads(line) for line in gzip.decompress(SAMPLES.read_bytes()).splitlines()]
    rules = sorted({line["rule"] for line in lines})
    for half in (0, 1):
        samples = [line for line in lines if line["rule"] in rules[half::2]]
        measure(half, samples, int(sys.argv[1]) if len(sys.argv) > 1 else 0)


if __name__ == "__main__":
    main()
