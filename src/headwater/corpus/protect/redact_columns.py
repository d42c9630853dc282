"""Redaction of what stands beside texts: columns of tables, titles, addresses, names of licences."""

from __future__ import annotations

from headwater.corpus.protect.redact import FINDERS, redact
from headwater.corpus.protect.secrets import names_secret
from headwater.corpus.protect.settings import RedactSettings

# an author is named on purpose; a group is a name of ours
_AS_IT_IS = ("author", "group")
_SITE, _OF_SITES = "site", "ip_address"  # sites are told apart by it


class ColumnRedactor:
    """Replaces in metadata what is replaced in texts. What a column's name says of its value counts: "password"."""

    def __init__(self, settings: RedactSettings) -> None:
        self._kinds = [kind for kind in FINDERS if kind in settings.kinds]
        self._kinds_of_site = [kind for kind in self._kinds if kind != _OF_SITES]

    def __call__(self, meta: dict[str, str]) -> dict[str, str]:
        """Return metadata with placeholders; the same object where there is nothing to replace.

        A column whose own name is replaced, as an e-mail address for a name is, is dropped.
        """
        values = {name: value for name, value in meta.items() if name not in _AS_IT_IS}
        # all together: nearly all rows have nothing, and a text costs some microseconds however short it is
        if not redact("\n".join(value.join(_around(name, value)) for name, value in values.items()), self._kinds)[1]:
            return meta
        redacted = {name: self._value(name, value) if name in values else value for name, value in meta.items()}
        return {name: value for name, value in redacted.items() if value is not None}

    def _value(self, name: str, value: str) -> str | None:
        before, after = _around(name, value)
        text, _ = redact(before + value + after, self._kinds_of_site if name == _SITE else self._kinds)
        is_whole = text.startswith(before) and text.endswith(after)
        return text[len(before) : len(text) - len(after)] if is_whole else None


def _around(name: str, value: str) -> tuple[str, str]:
    """Return what is written around a value: what sets it to the name of a secret, else the name stands above it.

    A value with quotes in it stands by itself, too: in others they would end it.
    """
    is_set = names_secret(name) and '"' not in value and "'" not in value
    return (f'{name}="', '"') if is_set else (f"{name}\n", "\n")
