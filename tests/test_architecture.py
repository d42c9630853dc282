"""The rules of the source tree that no reader should have to check by eye."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = SOURCE / "headwater"
FILES = sorted(PACKAGE.rglob("*.py"))

# the rooms: a line may import only lines below it; rooms of one line never import each other
LINES = "cli|page|runs|plan downstream|runfile|export|train evaluate|machine|model|tokens|corpus|core"
ROOMS = [line.split() for line in LINES.split("|")]
# and inside each: "." are a room's own modules, which in the corpus stand between its folders
INSIDE = {
    "page": [["."], ["report", "serve"], ["picture"]],
    "runs": [["library"], ["."]],
    "plan": [["."], ["forecast"], ["scaling"]],
    "export": [["."], ["base"]],
    "train": [["."], ["checkpoint"]],
    "machine": [[".", "parallel"], ["device", "ranks"], ["host"]],
    "model": [["kernels"], [".", "optim"]],
    "tokens": [["batches"], ["."], ["tokenizer"]],
    "corpus": [["samples"], ["decide"], ["tasks"], ["engine"], ["measures", "protect"], ["read"],
               ["licences", "personal"], ["sources"]],
}  # fmt: skip
TORCH_FREE = "core corpus tokens plan runfile page.picture page.report model.settings model.count model.optim.settings"
TORCH_FREE += " machine.parallel.settings machine.ranks.mesh machine.device.settings machine.host.facts train.settings"
TORCH_FREE += " export.base.config export.base.facts export.base.gguf"

ASKS_TORCH = "headwater.corpus.measures.sequence_classifier"  # loads it where a run file names a model, and not before

MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def room_of(module: str) -> str:
    """Return the room of a module; "" of the package itself."""
    return [*module.split("."), ""][1]


def folder_of(module: str) -> str:
    """Return the folder of a room that a module is in; "." of the room's own modules."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and (PACKAGE / parts[1] / parts[2]).is_dir() else "."


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Return (module, line) of every import in a file, also those inside functions."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in MODULES else node.module, node.lineno) for name in inner]
    return found


def own_imports(path: Path) -> set[str]:
    return {name for name, _ in imports(path) if name.split(".")[0] == "headwater"}


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(SOURCE)}:{node.lineno}"


def nodes(kind: type | tuple[type, ...], *, outside: tuple[str, ...] = ()) -> Iterator[tuple[Path, ast.AST]]:
    """Yield (file, node) over the package, leaving out the files or packages named."""
    for path in FILES:
        relative = str(path.relative_to(PACKAGE))
        if not any(relative == name or relative.startswith(name + "/") for name in outside):
            yield from ((path, node) for node in ast.walk(tree(path)) if isinstance(node, kind))


def dotted(node: ast.AST) -> str:
    """Return a.b.c of a name or attribute, with '?' for what is neither."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def lines_of(rows: list[list[str]]) -> dict[str, int]:
    return {name: number for number, row in enumerate(rows) for name in row}


def test_there_are_fourteen_rooms():
    found = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found == set(lines_of(ROOMS)) and len(found) == 14
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}, "every module is in a room"


def test_contributing_lists_the_rooms_in_their_order():
    rooms = {room: ast.get_docstring(tree(PACKAGE / room / "__init__.py")) for room in lines_of(ROOMS)}
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "\n".join(f"| `{room}` | {line} |" for room, line in rooms.items()) in text


def test_imports_only_point_down():
    line_of, wrong = lines_of(ROOMS), []
    for path in FILES:
        room = room_of(module_name(path))
        for name, line in imports(path):
            target = room_of(name) if name.split(".")[0] == "headwater" else ""
            if room in line_of and target not in ("", room) and line_of[target] <= line_of[room]:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", lines_of(ROOMS))
def test_imports_only_point_down_inside_a_room(room):
    line_of, wrong = lines_of(INSIDE.get(room, [])), []
    folders = {folder_of(module) for module in MODULES if room_of(module) == room and module.count(".") > 1}
    assert folders - {"."} == set(line_of) - {"."}, f"no line, or no folder: {folders ^ set(line_of)}"
    for module, path in MODULES.items():
        if room_of(module) != room or (folder := folder_of(module)) not in line_of:
            continue
        for name, line in imports(path):
            target = folder_of(name) if name.startswith(f"headwater.{room}.") else folder
            if target != folder and target in line_of and line_of[target] <= line_of[folder]:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_whoever_asks_a_model_loads_nothing_that_builds_a_corpus():
    program = "import sys, headwater\nheadwater.Model\nprint(*(name for name in sys.modules if name.startswith('headwater.corpus')))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, timeout=120
    )
    assert set(done.stdout.split()) <= {"headwater.corpus", "headwater.corpus.sources"} | {
        f"headwater.corpus.sources.{name}" for name in ("settings", "engine_settings", "own_code", "rules", "spdx")
    }, done.stderr


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: own_imports(path) & set(MODULES) for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        assert module not in way, "cycle: " + " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module] - {module}):
                visit(target, [*way, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_no_module_is_named_after_nothing():
    vague = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert not [name for name in MODULES if vague & set(name.split("."))]


def test_files_and_functions_are_short():
    long = [
        f"{path}: {len(lines)} lines"
        for path in FILES
        if len(lines := path.read_text("utf-8").splitlines()) > MAX_FILE_LINES
    ]
    long += [
        f"{place(path, node)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef))
        if node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_package_init_files_hold_only_a_docstring():
    full = [path for path in FILES if path.name == "__init__.py" and len(tree(path).body) > 1]
    # the package itself may state its version, and these hand on what a notebook imports
    assert not [
        path for path in full if path.parent not in (PACKAGE, PACKAGE / "corpus", PACKAGE / "plan" / "scaling")
    ], full


def test_a_name_of_a_public_class_is_that_of_one_thing():
    found: dict[str, list[str]] = {}
    for path, node in nodes(ast.ClassDef):
        if not node.name.startswith("_"):
            found.setdefault(node.name, []).append(place(path, node))
    assert not {name: places for name, places in found.items() if len(places) > 1}


def test_no_relative_imports():
    assert not [place(path, node) for path, node in nodes(ast.ImportFrom) if node.level]


def torch_free_modules() -> list[str]:
    names = tuple(f"headwater.{name}" for name in TORCH_FREE.split())
    return sorted(module for module in MODULES if f"{module}.".startswith(tuple(f"{name}." for name in names)))


def test_torch_free_packages_do_not_reach_torch_by_any_way():
    wrong = [
        f"{module} reaches {name} through {reached}"
        for module in torch_free_modules()
        for reached in reachable(module)
        for name, _ in imports(MODULES[reached])
        if reached != ASKS_TORCH
        and (name.split(".")[0] in ("torch", "transformers") or name.startswith("safetensors.torch"))
    ]
    assert not wrong, "\n".join(wrong)


def reachable(module: str) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current in MODULES and current not in reached:
            reached.add(current)
            waiting += own_imports(MODULES[current])
    return reached


def test_importing_the_torch_free_packages_does_not_load_torch():
    modules = [name for name in torch_free_modules() if not name.endswith("__main__")]
    program = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_nothing_unpickles():
    pickling = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} {name}"
        for path in FILES
        for name, line in imports(path)
        if name.split(".")[0] in pickling
    ]
    forbidden = {"torch.load", "torch.save", "np.load", "numpy.load", "pd.read_pickle", "torch.jit.load"}
    wrong += [place(path, node) for path, node in nodes(ast.Attribute) if dotted(node) in forbidden]
    assert not wrong


OF_OS = (
    "rename replace renames link symlink truncate mkfifo mkdir makedirs unlink remove rmdir removedirs ftruncate fsync"
)
WRITING_CALLS = {f"os.{name}" for name in f"{OF_OS} pwrite sync chmod".split()}
WRITING_CALLS |= {f"shutil.{name}" for name in ["move", "copy", "copy2", "copyfile", "copytree", "rmtree", "copymode"]}
WRITING_CALLS |= {f"np.{name}" for name in ["save", "savez", "savez_compressed", "savetxt"]}
WRITING_METHODS = {
    *[
        "write_text",
        "write_bytes",
        "touch",
        "symlink_to",
        "hardlink_to",
        "tofile",
        "mkdir",
        "unlink",
        "rmdir",
        "truncate",
        "chmod",
    ]
}
OPENERS = {"open", "io.open", "gzip.open", "bz2.open", "lzma.open", "zipfile.ZipFile", "tarfile.open"}


def writes(node: ast.Call) -> bool:
    """Return whether a call changes the disk other than through headwater.core.files, as far as its text shows."""
    name = dotted(node.func)
    if name in WRITING_CALLS:
        return True
    if name in OPENERS or name.endswith(".open"):
        return opens_for_writing(node)
    if not isinstance(node.func, ast.Attribute) or name.startswith("files.") or name.startswith("disk."):
        return False
    method = node.func.attr
    # str.replace takes two arguments, Path.replace and Path.rename take one
    moves = method in ("rename", "replace") and len(node.args) == 1 and not node.keywords
    return method in WRITING_METHODS or moves


def opens_for_writing(node: ast.Call) -> bool:
    positional = node.args[1:] if dotted(node.func) in OPENERS else node.args  # the first is the file's name
    values = [*positional, *(keyword.value for keyword in node.keywords)]
    modes = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    if any(len(mode) <= 4 and set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes):
        return True
    flags = {dotted(inner) for value in values for inner in ast.walk(value) if isinstance(inner, ast.Attribute)}
    return bool(flags & {"os.O_WRONLY", "os.O_RDWR", "os.O_CREAT", "os.O_APPEND"})


def test_every_change_of_the_disk_goes_through_the_one_module_that_counts_it():
    # compiled kernels are no data: they can be made again, and a damaged one is known before it runs
    wrong = [
        f"{place(path, node)} {ast.unparse(node)[:80]}"
        for path, node in nodes(
            ast.Call, outside=("core/disk.py", "core/files.py", "core/json_lines.py", "model/kernels/library.py")
        )
        if writes(node)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_library_writes_a_file_by_its_name():
    """What safetensors writes by itself, nothing counts, digests or lets fail: checkpoint.tensor_file writes it."""
    named = ("save_file", "serialize_file")
    assert not [place(path, node) for path, node in nodes(ast.Call) if dotted(node.func).split(".")[-1] in named]


def test_operations_on_the_disk_are_used_by_what_commits_alone():
    """Others write through files, whose every result is complete under its name."""
    allowed = {
        "headwater.core.files",
        "headwater.core.json_lines",
        "headwater.train.checkpoint.lock",
        "headwater.cli.main",
    }
    allowed |= {"headwater.cli.running"}  # what ranks print is promised to nobody
    assert {name for name in MODULES if "headwater.core.disk" in own_imports(MODULES[name])} <= allowed


WRITES = "open(p, 'w'); open(p, mode='ab'); p.open('xb'); p.write_text(''); os.replace(a, b); p.rename(q); p.replace(q)"
WRITES += "; gzip.open(p, 'wt'); os.open(p, os.O_WRONLY); np.save(p, a); p.mkdir(); p.unlink(missing_ok=True)"
WRITES += "; shutil.rmtree(p); os.fsync(handle)"
READS = "open(p); open(p, 'rb'); s.replace('a', 'b'); files.write_text(p, ''); p.open()"


@pytest.mark.parametrize(("text", "is_write"), [(WRITES, True), (READS, False)])
def test_the_check_of_writes_sees_a_write_and_lets_reading_pass(text, is_write):
    calls = [line.value for line in ast.parse(text).body]
    assert [ast.unparse(call) for call in calls if writes(call) != is_write] == []


def test_only_cli_prints():
    wrong = [place(path, node) for path, node in nodes(ast.Call, outside=("cli",)) if dotted(node.func) == "print"]
    assert not wrong


def test_only_what_a_person_calls_reads_arguments_and_environment():
    called = ("cli", "page/run.py", "runs/library")
    forbidden = {"os.environ", "os.getenv", "os.environb", "os.putenv", "sys.argv"}
    wrong = [place(path, node) for path, node in nodes(ast.Attribute, outside=called) if dotted(node) in forbidden]
    names = {("os", "environ"), ("os", "getenv"), ("sys", "argv")}
    wrong += [
        place(path, node)
        for path, node in nodes(ast.ImportFrom, outside=called)
        if any((node.module, alias.name) in names for alias in node.names)
    ]
    assert not wrong


def test_lines_of_the_readme_fit_a_terminal():
    text = (PACKAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    long = [f"README.md:{number}" for number, line in enumerate(text.splitlines(), 1) if len(line) > 120]
    assert not long, f"longer than 120 characters: {long}"
