"""Energy and carbon: devices × mean power × time × PUE. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.errors import ConfigError
from headwater.tables import required, table

AVERAGE = "average"
SITE_COLUMNS = ("site", "pue", "kg_co2_per_kwh")


@dataclass(frozen=True)
class Site:
    """A data centre: energy over that of its computers (PUE), and carbon of its electricity."""

    name: str
    pue: float
    kg_co2_per_kwh: float


def find_site(name: str = AVERAGE, path: Path | None = None) -> Site:
    """Return a site of the table; raise ConfigError with the names there are."""
    rows = table("sites.csv", path, SITE_COLUMNS)
    for place, row in rows:
        if row["site"] == name:
            where = f"{place}, {name}"
            pue = required(row, "pue", where=where)
            if pue < 1:
                raise ConfigError(
                    f"{where}: pue={pue} is below 1, which is a data centre that uses less than its computers"
                )
            return Site(name, pue, required(row, "kg_co2_per_kwh", where=where))
    known = ", ".join(row["site"] for _, row in rows)
    raise ConfigError(f"no site {name!r} in the sites table; it has {known}")


def site_or_average(name: str, path: Path | None = None) -> tuple[Site, float, str]:
    """Return the site whose electricity counts, its PUE, and both in words.

    Without a name the machine stands in no data centre: nothing is spent on cooling, and carbon is the average's.
    """
    site = find_site(name or AVERAGE, path)
    carbon = f"{site.kg_co2_per_kwh:g} kg of CO2 a kWh of the site {site.name}"
    if name:
        return site, site.pue, f"PUE {site.pue:g} and {carbon}"
    return site, 1.0, f"nothing for cooling, {carbon}: a costs file names another site"
