"""The folder of a run that another program than the trainer makes of a run: its settings and tokenizer, copied."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import ConfigError
from headwater.files import new_folder, read_json, write_bytes, write_json

TOKENIZER = Path("data", "tokenizer")


def make_derived_run(base: Path, run_dir: Path) -> None:
    """Give a run folder the settings and the tokenizer of the run `base`, unless it has them already.

    Raises ConfigError where it is the folder of another run.
    """
    settings = read_json(base / "config.json")
    if not (run_dir / TOKENIZER).exists():
        with new_folder(run_dir / TOKENIZER) as folder:
            for file in sorted((base / TOKENIZER).iterdir()):
                write_bytes(folder / file.name, file.read_bytes())
    if not (run_dir / "config.json").exists():
        write_json(run_dir / "config.json", settings)
    if read_json(run_dir / "config.json") != settings:
        raise ConfigError(f"{run_dir} is the folder of a run with other settings than {base}; choose another --name")
