"""Personal data and secrets drawn by chance, in the forms in which people write them."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

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


def phone(rng: random.Random) -> str:
    """Return an example of the `phonenumbers` package with other digits at its end, by its own forms."""
    kind = rng.choice([PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
    region = rng.choice(REGIONS)
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    digits, number = phonenumbers.national_significant_number(example), None
    while number is None or not phonenumbers.is_valid_number(number) or "55501" in str(number.national_number):
        number = phonenumbers.parse(f"+{example.country_code}{digits[:-4]}{draw(rng, '0123456789', 4)}")
    form = rng.choice([PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164, PhoneNumberFormat.NATIONAL])
    written = phonenumbers.format_number(number, form)
    return rng.choice(LABELS) + written if form == PhoneNumberFormat.NATIONAL else written


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
    "email": email, "phone": phone, "ip_address": ip_address,
    "private_key": private_key, "token": token, "password": password,
}  # fmt: skip
