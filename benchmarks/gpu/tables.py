"""What the checks found, as the tables that docs/log.md takes."""

from __future__ import annotations

from typing import Any

SPEED_HEADINGS = (
    "model, trainer",
    "microbatch",
    "tokens/s",
    "MFU, data sheet",
    "MFU, measured peak",
    "memory, GB",
    "forecast, GB",
    "loss",
)


def markdown(checks: dict[str, dict[str, Any]]) -> str:
    """Return a table of all checks and one of the speeds; a check that failed has its reason."""
    speeds = {name: found for name, found in checks.items() if "ms_per_step" in found}
    others = [[name, _result(found)] for name, found in checks.items() if name not in speeds]
    return "\n\n".join(
        [
            _table(("check", "result"), others),
            _table(SPEED_HEADINGS, [_speed(name, found) for name, found in speeds.items()]),
        ]
    )


def _result(found: dict[str, Any]) -> str:
    if found["status"] != "ok":
        return found["status"]
    if "peak_flops" in found:
        peaks = ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in found["peak_flops"].items())
        sheet = f" (data sheet {found['sheet_flops'] / 1e12:.4g})" if found["sheet_flops"] else ""
        return f"{found['name']}, torch {found['torch']}: {peaks}{sheet}, {found['bytes_per_second'] / 1e9:.4g} GB/s"
    if "result" in found:
        return str(found["result"])
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items() if name != "status")


def _speed(name: str, found: dict[str, Any]) -> list[str]:
    def percent(key: str) -> str:
        return f"{found[key]:.1%}" if key in found else ""

    def gigabytes(key: str) -> str:
        return f"{found[key] / 1e9:.2f}" if key in found else ""

    return [
        name,
        f"{found['microbatch_tokens']:,}",
        f"{found['tokens_per_second']:,.0f}",
        percent("mfu_sheet"),
        percent("mfu_measured"),
        gigabytes("memory_bytes"),
        gigabytes("forecast_bytes"),
        f"{found['first_loss']:.2f} to {found['last_loss']:.2f}",
    ]


def _table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [list(headings), ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
