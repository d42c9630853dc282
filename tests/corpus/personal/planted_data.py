"""Personal data and secrets drawn by chance, in the forms in which people write them."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence
from itertools import pairwise

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

HEXADECIMAL, ALPHANUMERIC = "0123456789abcdef", string.ascii_letters + string.digits
WEB_SAFE = ALPHANUMERIC + "-_"
BASE32 = string.ascii_uppercase + "234567"


def draw(rng: random.Random, letters: str, count: int) -> str:
    return "".join(rng.choices(letters, k=count))


def mixed(rng: random.Random, letters: str, count: int) -> str:
    """Return `count` letters of which one is a digit and one is not."""
    return draw(rng, letters, count - 2) + "a7"


_NAMES = "anna j.doe mary_ann li+news o-neil x99 jürgen.müller иван josé"
_HOSTS = "gmail.com mail.uni-wien.ac.at acme.co.uk posteo.de lab.mit.edu firma.info empresa.com.py gov.md uni.berlin пример.рф"
_REGIONS = "AU BR CN DE EG ES FR GB GR IL IN IT JP KE KR MX NG NO NZ PK PL RU SE TH TR UA US VN ZA"
_LABELS = "Tel. |Téléphone : |电话：|TEL：|Тел. |Ph: |Mob. |هاتف: |फ़ोन: |call us on |โทร "
NAMES, HOSTS, REGIONS, LABELS = _NAMES.split(), _HOSTS.split(), _REGIONS.split(), _LABELS.split("|")


def email(rng: random.Random) -> str:
    name, host = rng.choice(NAMES), rng.choice(HOSTS)
    return rng.choice([f"{name}@{host}", f"<{name}@{host}>", f"mailto:{name}@{host}?subject=x"])


def phone(rng: random.Random, forms: Sequence[int] = (PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164)) -> str:
    """Return an example of the `phonenumbers` package with other digits at its end, by its own forms."""
    kind = rng.choice([PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
    region = rng.choice(REGIONS)
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    digits, number = phonenumbers.national_significant_number(example), None
    while number is None or not phonenumbers.is_valid_number(number) or "55501" in str(number.national_number):
        number = phonenumbers.parse(f"+{example.country_code}{digits[:-4]}{draw(rng, '0123456789', 4)}")
    return phonenumbers.format_number(number, rng.choice(forms))


# an account's number after its check digits by country: of digits (n), capitals (a), or either (c), as SWIFT's registry has it
ACCOUNTS = {
    "DE": "n18", "GB": "a4n14", "NL": "a4n10", "FR": "n10c11n2", "MT": "a4n5c18", "NO": "n11", "CH": "n5c12", "ES": "n20",
    "IT": "a1n10c12", "PL": "n24", "SA": "n2c18", "BR": "n23a1c1", "LC": "a4c24", "KW": "a4c22", "AE": "n19", "BE": "n12",
}  # fmt: skip
DRAWN = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}


def iban(rng: random.Random, off: int = 0, countries: str = " ".join(ACCOUNTS)) -> str:
    """Return an account's number with check digits that are `off` from the right ones, as people write it."""
    country = rng.choice(countries.split())
    parts = re.findall(r"([nac])(\d+)", ACCOUNTS.get(country, "n18"))
    account = "".join(draw(rng, DRAWN[letters], int(count)) for letters, count in parts)
    check = (96 - _remainder(account + country + "00") + off) % 97 + 2  # from 02 to 98
    text = f"{country}{check:02d}{account}"
    return rng.choice([text, *(sign.join(text[at : at + 4] for at in range(0, len(text), 4)) for sign in " \u00a0")])


def _remainder(account: str) -> int:
    """Divide by 97 as by hand, a digit at a time."""
    rest = 0
    for letter in account:
        for digit in letter if letter.isdigit() else str(ord(letter) - ord("A") + 10):
            rest = (10 * rest + int(digit)) % 97
    return rest


# the beginnings of numbers, each with the number's length
_ISSUERS = "4/16 51/16 55/16 2221/16 2720/16 34/15 37/15 6011/16 65/16 3528/16 36/14 62/16 2201/16"
_NO_ISSUERS = "1/16 7/16 90/16 2100/16 2721/16 56/15 4/14 51/15 34/16 36/15 3590/16"
ISSUERS, NO_ISSUERS = (
    {begin: int(length) for begin, length in (each.split("/") for each in listed.split())}
    for listed in (_ISSUERS, _NO_ISSUERS)
)
DOUBLED = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]  # Luhn's doubles, as his patent tabulates them


def card(rng: random.Random, off: int = 0, issuers: dict[str, int] = ISSUERS) -> str:
    """Return a card's number whose check digit is `off` from the right one, grouped as on a card, or not."""
    begin = rng.choice(list(issuers))
    body = begin + draw(rng, string.digits, issuers[begin] - len(begin) - 1)
    total = sum(DOUBLED[int(d)] if at % 2 == 0 else int(d) for at, d in enumerate(reversed(body)))
    number = body + str((-total + off) % 10)
    ends = [0, 4, 8, 12, 16] if len(number) == 16 else [0, 4, 10, len(number)]
    return rng.choice([number, *(sign.join(number[a:b] for a, b in pairwise(ends)) for sign in " -\u00a0")])


def labelled_phone(rng: random.Random) -> str:
    return rng.choice(LABELS) + national_phone(rng)


def national_phone(rng: random.Random) -> str:
    number = phonenumbers.parse(phone(rng, [PhoneNumberFormat.E164]))
    return phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)


# of other things, in forms that telephone numbers have: # is a digit, % one of 1 to 9
_OTHERS = "SSN ###-##-####|part no. 0##-##-####|Order 0###-###-###|sequence (##) #########|(##) ####-####|%##-###-####|0##/######|00%# ### ######|%##.###.####|0## ## ## ##|ID ##########"


def other_number(rng: random.Random) -> str:
    return re.sub(
        "[#%]",
        lambda sign: rng.choice("123456789" if sign.group() == "%" else string.digits),
        rng.choice(_OTHERS.split("|")),
    )


def ip_address(rng: random.Random) -> str:
    if rng.random() < 0.4:
        groups = [f"{rng.randrange(1, 1 << 16):x}" for _ in range(6)]
        return rng.choice(
            [f"2a02:{':'.join(groups)}:1", f"2607:f8b0:{groups[0]}::{groups[1]}", f"2620:0:{groups[2]}::1:2"]
        )
    return f"{rng.choice([8, 31, 52, 81, 93, 130, 151, 185, 217])}.{rng.randint(10, 255)}.{rng.randint(10, 255)}.{rng.randint(10, 255)}"


def private_key(rng: random.Random) -> str:
    kind = rng.choice(["", "RSA ", "EC ", "OPENSSH "])
    lines = [draw(rng, ALPHANUMERIC + "+/", 64) for _ in range(rng.randint(3, 25))]
    end = "\n" if rng.random() < 0.7 else "\\n"
    return end.join([f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"])


def token(rng: random.Random) -> str:
    jwt = f"eyJ{mixed(rng, WEB_SAFE, 30)}.eyJ{mixed(rng, WEB_SAFE, 80)}.{mixed(rng, WEB_SAFE, 43)}"
    return rng.choice(
        [
            "AKIA" + draw(rng, BASE32, 14) + "Q7", "AIza" + mixed(rng, WEB_SAFE, 35), "ghp_" + mixed(rng, ALPHANUMERIC, 36),
            "github_pat_" + mixed(rng, ALPHANUMERIC + "_", 82), "glpat-" + mixed(rng, WEB_SAFE, 20),
            f"xoxb-{draw(rng, string.digits, 11)}-{mixed(rng, ALPHANUMERIC, 24)}", "sk_live_" + mixed(rng, ALPHANUMERIC, 24),
            "hf_" + mixed(rng, ALPHANUMERIC, 34), "sk-proj-" + mixed(rng, WEB_SAFE, 48), "sk-ant-api03-" + mixed(rng, WEB_SAFE, 90),
            "npm_" + mixed(rng, ALPHANUMERIC, 36), "pypi-AgEIcHlwaS5vcmc" + mixed(rng, WEB_SAFE, 120),
            f"SG.{mixed(rng, WEB_SAFE, 22)}.{mixed(rng, WEB_SAFE, 43)}", "dop_v1_" + mixed(rng, HEXADECIMAL, 64), jwt,
            f"https://hooks.slack.com/services/T{draw(rng, BASE32, 9)}/B{draw(rng, BASE32, 9)}/{mixed(rng, ALPHANUMERIC, 24)}",
        ]
    )  # fmt: skip


def password(rng: random.Random) -> str:
    value = mixed(rng, ALPHANUMERIC + "!+-#&", 14)
    return rng.choice(
        [
            f'password = "{value}"', f"DB_PASSWORD: '{value}'", f'"secret_key": "{value}"', f'api_key="{value}"',
            f"config['token'] = '{value}'", f"passwd => '{value}'", f"postgres://admin:{value.replace('#', 'x')}@db.intern/x",
            f'aws_secret_access_key = "{mixed(rng, ALPHANUMERIC + "/+", 40)}"', f"DB_PASS={mixed(rng, ALPHANUMERIC, 12)}",
            f"aws_secret_access_key = {mixed(rng, ALPHANUMERIC + '/+', 40)}", f"export API_TOKEN={mixed(rng, HEXADECIMAL, 32)}",
            f'password = "{rng.choice(["hunter", "tiger", "anna"])}{rng.randint(2, 99)}{rng.choice(["Secret", "Test", "Token"])}!{draw(rng, WEB_SAFE, 2)}"',
            f"postgresql://bob:{mixed(rng, ALPHANUMERIC, 10)}@db.acme.com:5432/x", f"redis://:{mixed(rng, ALPHANUMERIC, 12)}@cache.acme.com:6379",
        ]
    )  # fmt: skip


PLANTED: dict[str, Callable[[random.Random], str]] = {
    "email": email, "phone": phone, "ip_address": ip_address, "iban": iban, "card": card,
    "private_key": private_key, "token": token, "password": password,
}  # fmt: skip
