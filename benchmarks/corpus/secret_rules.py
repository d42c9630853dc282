"""Write corpus/personal/data/secrets.toml from gitleaks' rules: `python secret_rules.py gitleaks.toml COMMIT LICENSE`.

RE2's syntax becomes Python's. What gitleaks asks about a file's path, and its general rule, are not taken over: text
has no path, and `find_passwords` does the latter's work. A secret may also end where a sentence does.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

OUTPUT = Path(__file__).parents[2] / "src/headwater/corpus/personal/data/secrets.toml"
# whole files and commands; blocks of keys, which find_private_keys knows; any assignment, which find_passwords judges
SKIPPED = {"generic-api-key", "private-key", "curl-auth-header", "curl-auth-user", "sidekiq-sensitive-url"}
PREFIX = r"[\w.-]{0,50}?"  # of the name: of no use but to show it
SUFFIX = r"""(?:[\x60'"\s;]|\\[nr]|$)"""
ENDS = r"""(?=[\x60'"\s;,)\]}<>|&]|[^\x00-\x7f]|\.(?:\s|$)|\\[nr]|$)"""
# of rules whose keyword may stand anywhere in a file, or is so short that every text has it
KEYWORDS = {
    "airtable-personnal-access-token": ["pat"],
    "cloudflare-origin-ca-key": ["v1.0-"],
    "jwt": ["eyj"],
    "twilio-api-key": [f"sk{letter}" for letter in "0123456789abcdef"],
    "vault-service-token": ["hvs.", *(f"s.{letter}" for letter in "0123456789abcdefghijklmnopqrstuvwxyz")],
}
MORE = [
    ("google-oauth-client-secret", r"\bGOCSPX-[\w-]{28}(?![\w-])", 3.2, ["gocspx-"]),
    ("google-oauth-access-token", r"\bya29\.[\w-]{30,}", 3.2, ["ya29."]),
    ("github-user-token", r"\bgh[pousr]_[A-Za-z0-9]{36,255}(?!\w)", 3.2, ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]),
    ("of-openai-and-others", r"\bsk-[\w-]{32,255}(?!\w)", 3.2, ["sk-"]),
    ("hugging-face", r"\bhf_[A-Za-z0-9]{34,40}(?!\w)", 3.2, ["hf_"]),
    ("slack-token", r"\bxox[abeoprs]-[A-Za-z0-9-]{20,255}(?!\w)", 3.2, [f"xox{letter}" for letter in "abeoprs"]),
    ("digitalocean", r"\bdop_v1_[a-f0-9]{64}(?!\w)", 3.2, ["dop_v1_"]),
    ("json-web-token", r"(?<![\w-])eyJ[\w-]{10,4000}\.eyJ[\w-]{10,8000}\.[\w-]{20,2000}", 3.2, ["eyj"]),
]  # fmt: skip


def translated(regex: str) -> str:
    """Return the expression as Python reads it."""
    regex = regex.replace(PREFIX, "").replace(SUFFIX, ENDS).replace("[[:alnum:]]", "[A-Za-z0-9]").replace(r"\z", r"\Z")
    return _scoped(regex)


def _scoped(regex: str) -> str:
    """Return it with a bare (?i) that isn't its beginning made a group up to the end of the group that it stands in."""
    while (at := regex.find("(?i)", 1)) > 0:
        end = _end_of_group(regex, at + 4)
        regex = f"{regex[:at]}(?i:{regex[at + 4 : end]}){regex[end:]}"
    return regex


def _end_of_group(regex: str, at: int) -> int:
    depth, in_class = 0, False
    while at < len(regex):
        letter = regex[at]
        if letter == "\\":
            at += 1
        elif in_class:
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
        elif letter == "(":
            depth += 1
        elif letter == ")":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    return at


def main(config: Path, commit: str, licence: Path) -> None:
    rules = []
    for rule in tomllib.loads(config.read_text())["rules"]:
        if "path" in rule or "regex" not in rule or rule["id"] in SKIPPED:
            continue
        keywords = KEYWORDS.get(rule["id"], sorted(set(map(str.lower, rule["keywords"]))))
        allowed = [each for table in rule.get("allowlists", []) for each in table.get("regexes", [])]
        rules.append((rule["id"], translated(rule["regex"]), rule.get("entropy", 0), keywords, allowed))
    rules += [(*rule, []) for rule in MORE]
    with OUTPUT.open("w") as out:
        out.write(f"# Written by benchmarks/corpus/secret_rules.py from gitleaks' rules, commit {commit[:12]}\n")
        out.write(
            "# (https://github.com/gitleaks/gitleaks, config/gitleaks.toml), and, at the end, some of our own.\n#\n"
        )
        out.writelines(f"# {line}".rstrip() + "\n" for line in licence.read_text().strip().split("\n"))
        for name, regex, entropy, keywords, allowed in rules:
            re.compile(regex, re.ASCII)
            out.write(f"\n[[rules]]\nid = {json.dumps(name)}\nregex = '''{regex}'''\n")
            out.write(f"entropy = {float(entropy)}\n" if entropy else "")
            out.write(f"keywords = {json.dumps(keywords)}\n")
            out.write(f"allowed = [{', '.join(repr3(each) for each in allowed)}]\n" if allowed else "")


def repr3(text: str) -> str:
    return f"'''{text}'''"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
