"""Licences by their SPDX identifiers: expressions, groups, and which are allowed.

Expressions are read by the package license-expression, with the whole list of https://spdx.org/licenses. The public
domain, which has no identifier there, is LicenseRef-public-domain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from license_expression import ExpressionError, ExpressionParseError, LicenseWithExceptionSymbol, get_spdx_licensing

from headwater.corpus.toml_tables import toml_table

PUBLIC_DOMAIN, UNKNOWN = "LicenseRef-public-domain", "unknown"
MAX_EXPRESSION = 500  # characters

_LISTED = toml_table("headwater.corpus.sources", "data/licence_groups")
GROUPS: dict[str, list[str]] = {name: listed.split() for name, listed in _LISTED.items()}
_ALIASES = {"pd": PUBLIC_DOMAIN, "public-domain": PUBLIC_DOMAIN, "expat": "MIT", "bsd": "BSD-3-Clause"}
_licensing = cache(get_spdx_licensing)


def canonical(text: str) -> str | None:
    """Return an SPDX expression as the list spells it, with today's identifiers; None for what is no expression.

    All its licences are of the list, or the writer's own, LicenseRef-NAME; what stands behind WITH is an exception of
    the list, which gives more than the licence does: the Commons Clause, say, takes away.
    """
    parsed = _parsed(text)
    return None if parsed is None else parsed.render("{symbol.key}")


@cache
def _keys() -> dict[str, Any]:
    return {key.lower(): symbol for key, symbol in _licensing().known_symbols.items()}


def _parsed(text: str) -> Any | None:
    if not text.strip() or len(text) > MAX_EXPRESSION:
        return None
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    try:
        parsed = _licensing().parse(" ".join(_ALIASES.get(word.lower(), word) for word in words), strict=True)
        return parsed if parsed is not None and all(_is_listed(each) for each in parsed.symbols) else None
    # the package's parser doesn't expect "()" and "(or MIT"
    except (ExpressionError, ExpressionParseError, RecursionError, AssertionError, IndexError):
        return None


def _is_listed(symbol: Any) -> bool:
    if isinstance(symbol, LicenseWithExceptionSymbol):
        exception = _keys().get(symbol.exception_symbol.key.lower())
        return _is_listed(symbol.license_symbol) and exception is not None and exception.is_exception
    own = symbol.key.startswith("LicenseRef-") and " " not in symbol.key
    listed = _keys().get(symbol.key.lower())
    return own or (listed is not None and not listed.is_exception)


def is_expression(text: str) -> bool:
    """Return whether a text is an SPDX expression of licences of the list, or of the writer's own."""
    return _parsed(text) is not None


def identifiers(expression: str) -> list[str]:
    """Return the licences that an expression names, without exceptions, in order; none of what is no expression."""
    parsed = _parsed(expression)
    return [] if parsed is None else [_plain(symbol).key for symbol in parsed.get_literals()]


def _plain(symbol: Any) -> Any:
    return symbol.license_symbol if isinstance(symbol, LicenseWithExceptionSymbol) else symbol


def matches(identifier: str, pattern: str) -> bool:
    """Return whether an identifier is the one allowed, or one of those that `pattern` with a * at its end stands for.

    What may be used under a later version, too, may be used under the one allowed.
    """
    if pattern.endswith("*"):
        return identifier.startswith(pattern[:-1])
    return identifier in (pattern, pattern.replace("-only", "-or-later"))


def allowed_patterns(allow: Collection[str]) -> list[str]:
    """Return identifiers and patterns with groups in place of their names, without `unknown`."""
    named = [name for name in allow if name != UNKNOWN]
    return [pattern for name in named for pattern in GROUPS.get(name, [canonical(name) or name])]


def known_names() -> list[str]:
    """Return the groups and the identifiers that stand in them, without patterns."""
    listed = [name for group in GROUPS.values() for name in group if not name.endswith("*")]
    return [*GROUPS, UNKNOWN, "PD", *dict.fromkeys(listed)]


def is_allowable(name: str) -> bool:
    """Return whether a name can stand in a list of what is allowed: a group, an identifier, the beginning of some."""
    if name in known_names():
        return True
    if name.endswith("*"):
        return any(key.startswith(name[:-1]) for key in _licensing().known_symbols)
    return " " not in name and is_expression(name)


def is_allowed(expression: str, patterns: Collection[str]) -> bool:
    """Return whether an expression's terms can be met by allowed licences alone: one side of OR, both of AND."""
    parsed = _parsed(expression)
    return parsed is not None and _holds(parsed, lambda key: any(matches(key, each) for each in patterns))


def _holds(parsed: Any, holds: Callable[[str], bool]) -> bool:
    if parsed.isliteral:
        return holds(_plain(parsed).key)
    each = (_holds(part, holds) for part in parsed.args)
    return all(each) if parsed.operator.strip() == "AND" else any(each)
