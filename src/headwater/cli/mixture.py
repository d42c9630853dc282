"""corpus mixture: how much each source gives to training, by rules or by what small runs show."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from headwater.cli.arguments import STOPPED_BY_SIGNAL, AsJson, Overrides, RunFile, flag, option
from headwater.cli.terminal import card, print_json, say_beside
from headwater.errors import ConfigError

if TYPE_CHECKING:
    from headwater.runs.mixing import MixingResult

SEARCH = {"rich_help_panel": "With --search"}


def mixture(
    run: RunFile,
    overrides: Overrides = None,
    search: Annotated[bool, flag("--search", "Train small runs, propose a mixture by them, and check it.")] = False,
    runs: Annotated[int, option("N", "Number of mixtures to train, 6 or more.", **SEARCH)] = 12,
    checks: Annotated[int, option("N", "Number of seeds to check the proposal with.", **SEARCH)] = 2,
    share: Annotated[float | None, option("X", "Time of the small runs, as a share of this run's.", **SEARCH)] = None,
    minutes: Annotated[float | None, option("N", "Time of the small runs in minutes.", **SEARCH)] = None,
    for_: Annotated[
        list[str] | None,
        option(
            "SOURCE=N", "Weight of a source's loss; may be repeated (default: all real text alike).", "--for", **SEARCH
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print each source's share and epochs, or search for better ones.

    The shares are the run's own, and those by size, by temperature and by UniMax. The search is experimental: none on
    real text has been run to its end.
    """
    if search:
        _search(run, overrides or [], (minutes, share, runs, checks, _importance(for_ or [])), as_json)
        return
    from headwater.checkpoint.lock import owned
    from headwater.runs.run_config import load_run
    from headwater.runs.stages import prepare_data
    from headwater.runs.text_size import shares_by_rule

    config, _ = load_run(run, overrides or [])
    with owned(config.run_dir) as owner:
        prepare_data(config, say_beside(as_json), owner.require)
        found = shares_by_rule(config)
    print_json(found) if as_json else _print_shares(found)


def _print_shares(found: dict[str, Any]) -> None:
    mixtures = found["mixtures"]
    print(f"{'source':<16} {'sequences':>9}" + "".join(f"{name:>22}" for name in mixtures))
    for source, rows in found["rows"].items():
        cells = (_cell(mixture, source) for mixture in mixtures.values())
        print(f"{source:<16} {rows:>9,}" + "".join(f"{cell:>22}" for cell in cells))
    for name, mixture in mixtures.items():
        if "refused" in mixture:
            print(f"{name}: {mixture['refused']}")


def _cell(mixture: dict[str, Any], source: str) -> str:
    if "refused" in mixture:
        return "-"
    given = mixture["sources"][source]
    return f"{given['share']:.1%} ({given['epochs']:.2f} epochs)"


def _search(run: str, overrides: list[str], options: tuple[Any, ...], as_json: bool) -> None:
    """Train what isn't trained yet and print the proposal; the same command resumes after a signal."""
    from headwater.cli.progress import SmallRunDisplay
    from headwater.runs.mixing import MixingOptions, prepare_mixing, search_mixture

    say, out = say_beside(as_json), sys.stderr if as_json else sys.stdout
    mixing = prepare_mixing(run, overrides, MixingOptions(*options), say)
    result = search_mixture(mixing, lambda config: SmallRunDisplay(config.train, config.train.num_steps, out), say)
    if result is None:
        sys.exit(STOPPED_BY_SIGNAL)
    print_json(asdict(result)) if as_json else _print(result, run)


def _importance(given: list[str]) -> dict[str, float] | None:
    found = {}
    for each in given:
        source, _, value = each.partition("=")
        try:
            found[source] = float(value)
        except ValueError:
            raise ConfigError(f"--for {each!a}: write SOURCE=NUMBER, such as books=2") from None
    return found or None


def _print(result: MixingResult, run: str) -> None:
    print(f"{'source':<16} {'own':>7} {'proposed':>9} {'epochs':>7}   bits per byte: own, proposed   rank")
    own, new = result.forecast["own"], result.forecast["proposed"]
    for name, weight in result.proposed.items():
        shares = f"{result.own[name]:>7.1%} {weight:>9.1%} {result.epochs[name]:>7.2f}"
        print(f"{name:<16} {shares}   {f'{own[name]:.4f}, {new[name]:.4f}':>28} {result.rank[name]:>6.2f}")
    print()
    gain = f"{result.forecast['gain']:+.2%} fewer bits per byte than the run's own mixture"
    lines = [
        ("forecast", f"{gain}, by {result.num_runs} small runs"),
        ("trust", f"median error {result.left_out_error:.2%} where a small run is forecast from the others"),
    ]
    if result.gain_least is not None:
        gains = ", ".join(f"{check['gain']:+.2%}" for check in result.checks)
        better = "better with each seed" if result.gain_least > 0 else "not shown to be better: keep your own"
        lines.append(("checked", f"trained with other seeds: {gains}; {better}"))
    weights = " ".join(f"mixture.weights.{name}={weight:.4f}" for name, weight in result.proposed.items())
    card(f"mixture · {result.name}", [*lines, ("next", f"headwater run {shlex.quote(run)} name=NAME {weights}")])
