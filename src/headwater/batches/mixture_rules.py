"""Rules that say how much each source gives when nobody says it: from the sources' sizes alone."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.errors import ConfigError

USUAL_EPOCHS = 4.0
"Text read up to four times teaches almost as much as new text (Muennighoff et al. 2023, arXiv 2305.16264)."


def by_temperature(rows: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Return weights in proportion to rows^(1 / temperature): 1 is by size, the larger the more equal.

    As for languages of unequal size (Arivazhagan et al. 2019, arXiv 1907.05019, section 4.1).
    """
    largest = max(rows.values(), default=0) or 1
    return _normalised({name: (count / largest) ** (1 / temperature) for name, count in rows.items()})


def by_unimax(rows: Mapping[str, int], num_rows: int, max_epochs: Mapping[str, float]) -> dict[str, float]:
    """Return weights as equal as they can be when no source is seen more than `max_epochs` allows in `num_rows` rows.

    UniMax (Chung et al. 2023, arXiv 2304.09151, algorithm 1): from the smallest source up, each gets an equal part of
    what is left, or all that its cap allows. Raises ConfigError when the caps leave less than the run needs.
    """
    room = {name: count * max_epochs[name] for name, count in rows.items()}
    if sum(room.values()) < num_rows:
        raise ConfigError(
            f"the run needs {num_rows:,} rows, and {sum(rows.values()):,} rows, as often as max_epochs allows, are "
            f"{int(sum(room.values())):,}; train on fewer tokens, raise mixture.max_epochs or give more text"
        )
    left, given = float(num_rows), dict[str, float]()
    smallest_first = sorted(rows, key=lambda name: (rows[name], name))
    for place, name in enumerate(smallest_first):
        given[name] = min(left / (len(smallest_first) - place), room[name])
        left -= given[name]
    return _normalised({name: given[name] for name in rows})


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}
