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


def email(rng: random.Random) -> str:
    name = rng.choice(["anna", "j.doe", "mary_ann", "li+news", "o-neil", "x99", "jürgen.müller", "иван", "josé"])
    host = rng.choice(
        [
            "gmail.com",
            "mail.uni-wien.ac.at",
            "acme.co.uk",
            "posteo.de",
            "lab.mit.edu",
            "firma.info",
            "empresa.com.py",
            "gov.md",
            "uni.berlin",
            "пример.рф",
            "a.academy",
        ]
    )
    return rng.choice([f"{name}@{host}", f"<{name}@{host}>", f"mailto:{name}@{host}?subject=x"])


REGIONS = [
    "AU",
    "BR",
    "CN",
    "DE",
    "EG",
    "ES",
    "FR",
    "GB",
    "GR",
    "IL",
    "IN",
    "IT",
    "JP",
    "KE",
    "KR",
    "MX",
    "NG",
    "NO",
    "NZ",
    "PK",
    "PL",
    "RU",
    "SE",
    "TH",
    "TR",
    "UA",
    "US",
    "VN",
    "ZA",
]
LABELS = [
    "Tel. {}",
    "Téléphone : {}",
    "电话：{}",
    "TEL：{}",
    "Тел. {}",
    "Ph: {}",
    "Mob. {}",
    "هاتف: {}",
    "फ़ोन: {}",
    "call us on {}",
    "โทร {}",
]


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
    return rng.choice(LABELS).format(written) if form == PhoneNumberFormat.NATIONAL else written


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

# what looks like one of them and is none, or is an example that everyone may know
NEGATIVES = [
    "someone@example.com", "root@localhost", "user@host.test", "git@github.com:a/b.git", "@property", "x@y",
    "getty@tty1.service", "icon@2x.png", "A@B.T", "matrix@weights.transpose()", "127.0.0.1", "10.1.20.30", "192.168.77.14",
    "192.0.2.17", "203.0.113.250", "255.255.255.0", "version 12.34.56.78", "4.3.99.16", "1.2.3.4", "1.3.6.1.4.1.311", "v21.35.46.57",
    "999.45.67.89", "2001:db8::1:2", "fe80::1ff:fe23", "::1", "12:30:45", "2006::", "2023:10:11", "std::vector", "555-0142",
    "(212) 555-0199", "Boston, MA 02110-1301", "0292.0020.0002", "(266.97755814852)", "(12657)/78125", "x@w.to(device)", "x@w.to_list()", "user@host.py:12",
    "logo@2x.md", "a@b.mean()", "02-03-2024 12:30", "ISBN 0-306-40615-2", "$ 12 345 678",
    "cell 1000000 of them", "mobile 5000000 euros", "Exxon Mobil 2019-2020", "T-Mobil 2010 2012", "score +15 30/40 40/40",
    "+2023/01/02 10:30", "+2023-01-02 10:30",
    "+1-201-555-0123", "2009-03-04", "1990-2010", "978-3-16-148410-0", "3.14159265358979", "0.4111111111111111", "1234567890",
    "a = +4294967296", "+++++++++++", "100 200 300 400 500", "4111 1111 1111 1111", "4539 1488 0343 6468 9", "1111222233334444",
    "000-12-3456", "666-12-3456", "123-45-6789", "987-65-4321", "GB82 WEST 1234 5698 7654 33", "DE00 1234 5678 9012 3456 78",
    "AB12 CDEF GHIJ KLMN OPQR", "AKIAIOSFODNN7EXAMPLE", "sk-learn-contrib-and-more-words-in-a-row", "hf_hub_download_with_a_long_name_here",
    "ghp_" + "x" * 36, "xoxb-your-token-here-please", 'password = "password"', 'password = "changeme123"', "password = get_password()",
    'api_key = "YOUR_API_KEY_1"', 'token = "{token_value_1}"', 'secret = "correcthorsebatterystaple"', "https://user:password1@host/x",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----\n" + "A1b2" * 40 + "\n-----END PUBLIC KEY-----",
    'password = "<password1>"', 'password = "${DB_PASSWORD_1}"', 'password = "your-password1"',
    'api_key = "xxxxxxxx1234"', 'token = "access_token_v2"', 'password_hash = "pbkdf2_sha256"', "password = mysql_native_password2",
    "SECRET_KEY=your_secret_key_1", "DB_PASSWORD=${DB_PASSWORD_2}", "DB_PASS=changeme123", "token = Token2Value", "API_KEY=$API_KEY_2",
    "compass = 'north1234xyz'", "postgres://bob:pw@db.acme.com:5432/db", "http://user:pass@host.acme.com/", "token: OAuth2PasswordBearer",
    "PWD=/home/bob2/work3", "API_TOKEN: https://docs.corp.io/v2/intro", "PRIVATE_KEY=~/.ssh/id_ed25519", "PRIVATE_KEY=./keys/id_ed25519",
    "#define API_KEY = kApiKey2Foo", "PASSWORD_HASH=argon2id", 'private_key = "~/.ssh/id_ed25519"', 'token = "https://docs.corp.io/v2/intro"',
    "http://host.corp.com:8080/@user", "https://u:p@host.acme.com/", "git+https://github.com:org/repo@main", "ftp://{user1}:{pw1}@host.acme.com",
    "eyJhbGciOiJIUzI1NiJ9", "d41d8cd98f00b204e9800998ecf8427e", "550e8400-e29b-41d4-a716-446655440000",
]  # fmt: skip
