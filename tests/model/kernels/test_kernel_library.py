"""Kernels are compiled once for what decides them, and whatever is wrong with compiling is one KernelError."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import pytest

from headwater.model.kernels import library as module
from headwater.model.kernels.library import KernelError, load_kernels


@pytest.fixture
def compiler(tmp_path, monkeypatch, library):
    """Put a compiler on the path that copies a finished library, and counts its calls; return what it writes to."""
    bin_folder, calls = tmp_path / "bin", tmp_path / "calls"
    bin_folder.mkdir()
    calls.write_text("")
    write_compiler(
        bin_folder / "g++", f'echo "$@" >>{calls}\nwhile [ "$1" != -o ]; do shift; done\ncp {library._name} "$2"'
    )
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    monkeypatch.setattr(module, "COMPILERS", ("g++",))  # none of this machine's own
    return calls


def write_compiler(path: Path, compiling: str, version: str = "g++ (of a test) 1") -> None:
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit 0\n{compiling}\n')
    path.chmod(0o755)


def num_calls(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_the_second_load_compiles_nothing(compiler, tmp_path):
    cache = tmp_path / "cache"
    first, second = load_kernels(cache), load_kernels(cache)
    assert num_calls(compiler) == 1
    assert first._name == second._name
    assert [path.name for path in cache.iterdir()] == [Path(first._name).name], "a partial file was left"


def test_the_compiler_is_given_every_source_and_flag(compiler, tmp_path):
    load_kernels(tmp_path / "cache")
    given = compiler.read_text().split()
    assert {str(path) for path in module.FOLDER.glob("*.cpp")} | set(module.FLAGS) <= set(given)
    assert "-ffast-math" not in given


@pytest.mark.parametrize("what", ["a flag", "a source", "a header", "the compiler's version", "the processor"])
def test_whatever_decides_the_machine_code_makes_another_file(compiler, tmp_path, monkeypatch, what):
    folder = tmp_path / "sources"
    shutil.copytree(module.FOLDER, folder)
    monkeypatch.setattr(module, "SOURCES", sorted(folder.glob("*.cpp")))
    monkeypatch.setattr(module, "HEADERS", sorted(folder.glob("*.h")))
    before = load_kernels(tmp_path / "cache")._name
    if what == "a flag":
        monkeypatch.setattr(module, "FLAGS", (*module.FLAGS, "-g"))
    elif what == "the processor":
        monkeypatch.setattr(module, "_processor", lambda: "another")
    elif what == "the compiler's version":
        binary = Path(shutil.which("g++"))
        binary.write_text(binary.read_text().replace("of a test", "of another test"))
    else:
        with next(folder.glob("*.cpp" if what == "a source" else "*.h")).open("a") as file:
            file.write("// another\n")
    after = load_kernels(tmp_path / "cache")._name
    assert num_calls(compiler) == 2
    assert before != after


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write_is_not_used(compiler, tmp_path, mode):
    """Whoever can write there could have their own code run."""
    cache = tmp_path / "cache"
    load_kernels(cache)
    cache.chmod(mode)
    used = Path(load_kernels(cache)._name)
    assert cache not in used.parents
    assert num_calls(compiler) == 2
    assert stat.S_IMODE(used.parent.stat().st_mode) & 0o077 == 0
    shutil.rmtree(used.parent)


def test_a_fresh_folder_is_for_its_user_alone(compiler, tmp_path):
    cache = tmp_path / "a" / "b"
    load_kernels(cache)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_gives_way_to_a_temporary_one(compiler, tmp_path):
    (tmp_path / "file").write_text("")
    used = Path(load_kernels(tmp_path / "file" / "cache")._name)
    assert used.exists()
    shutil.rmtree(used.parent)


def test_a_failing_compiler_is_an_error_with_its_telling_line(compiler, tmp_path):
    binary = Path(shutil.which("g++"))
    write_compiler(binary, 'echo "In file included" >&2\necho "x.cpp:1: fatal error: no such header" >&2\nexit 1')
    with pytest.raises(KernelError, match=r"g\+\+ failed: x\.cpp:1: fatal error: no such header"):
        load_kernels(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.so"))


@pytest.mark.parametrize(
    ("compiling", "words"),
    [('echo "killed" >&2\nexit 1', "killed"), ("exit 3", "failed: 3"), ("exit 0", "left no library")],
    ids=["said", "silent", "idle"],
)
def test_a_compiler_that_says_little_is_an_error_with_that(compiler, tmp_path, compiling, words):
    write_compiler(Path(shutil.which("g++")), compiling)
    with pytest.raises(KernelError, match=words):
        load_kernels(tmp_path / "cache")


def test_a_compiler_that_takes_for_ever_is_an_error(compiler, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPILE_SECONDS", 0.2)
    write_compiler(Path(shutil.which("g++")), "exec sleep 20")
    with pytest.raises(KernelError, match="doesn't run"):
        load_kernels(tmp_path / "cache")


def test_no_compiler_is_an_error_that_names_those_that_would_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError, match=r"no C\+\+ compiler \(g\+\+, c\+\+, clang\+\+\) is on the path"):
        load_kernels(tmp_path / "cache")


def test_the_first_compiler_that_works_is_used(compiler, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMPILERS", ("g++", "c++", "clang++"))
    gpp = Path(shutil.which("g++"))
    shutil.copy(gpp, gpp.with_name("clang++"))
    for broken in ("g++", "c++"):
        write_compiler(gpp.with_name(broken), "echo no >&2\nexit 1")
    assert hasattr(load_kernels(tmp_path / "cache"), "hw_adamw")


def test_without_a_home_folder_kernels_are_kept_in_a_temporary_one(compiler, monkeypatch):
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(module.Path, "home", home)
    assert Path(load_kernels()._name).parent == module._fresh_folder()


def test_a_file_that_is_no_library_is_an_error(compiler, tmp_path):
    write_compiler(Path(shutil.which("g++")), 'while [ "$1" != -o ]; do shift; done\necho junk >"$2"')
    with pytest.raises(KernelError, match="can't be loaded"):
        load_kernels(tmp_path / "cache")


@pytest.mark.parametrize("damage", ["empty", "cut short", "one bit", "another library"])
def test_a_damaged_library_is_compiled_again(compiler, tmp_path, damage):
    """Loading one that is cut short would end the process: the loader reads past the end of the file."""
    cache = tmp_path / "cache"
    first = Path(load_kernels(cache)._name)
    good = first.read_bytes()
    middle = len(good) // 2
    bad = {
        "empty": b"",
        "cut short": good[:middle],
        "one bit": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "another library": good + b"more",
    }[damage]
    first.unlink()  # it is loaded in this process, which continues with its own copy
    first.write_bytes(bad)
    second = load_kernels(cache)
    assert num_calls(compiler) == 2
    assert hasattr(second, "hw_adamw")
    assert [path.read_bytes() for path in cache.iterdir()] == [good], "the damaged file was left"
    load_kernels(cache)
    assert num_calls(compiler) == 2


def test_two_processes_at_once_both_get_whole_kernels(compiler, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "getpid", threading.get_ident)  # each thread stands for a process
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_kernels(tmp_path / "cache"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert all(hasattr(kernels, "hw_adamw") for kernels in found)
