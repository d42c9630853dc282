"""Jupyter notebooks; against those that nbformat's own schema describes, of the fourth version."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": ["# Rivers\n", "\n", "They flow."]},
    {
        "cell_type": "code", "metadata": {}, "execution_count": 1, "source": "import os\nprint(os.name)",
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["SECRET OUTPUT"]}],
    },
    {"cell_type": "raw", "metadata": {}, "source": "raw"},
    {"cell_type": "code", "metadata": {}, "source": ["\n"], "outputs": []},
    {"cell_type": "markdown", "metadata": {}, "source": "The end.", "attachments": {"a.png": {"image/png": "AAAA"}}},
]  # fmt: skip
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
TEXT = "# Rivers\n\nThey flow.\n\n```python\nimport os\nprint(os.name)\n```\n\nThe end.\n"


def notebook(cells=CELLS, metadata=KERNEL, **more) -> bytes:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5, **more}).encode()


@pytest.mark.parametrize("kind", ["text", "code"])
def test_cells_are_read_in_order_without_what_the_code_printed(read, kind):
    (document,), drops = read("a.ipynb", notebook(), kind=kind)
    assert (document.text, document.kind, drops) == (TEXT, "code", [])
    assert document.meta == {"language": "python", "title": "Rivers"}


def test_the_third_version_is_no_notebook(read):
    documents, drops = read("a.ipynb", json.dumps({"worksheets": [{"cells": CELLS}], "nbformat": 3}).encode())
    assert (documents, [drop.reason for drop in drops]) == ([], ["not_notebook"])


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({"language_info": {"name": "R"}}, "r"),
        ({"kernelspec": {"language": "C++"}}, "c++"),
        ({"kernelspec": {"language": "wolfram"}}, "wolfram"),
        ({"kernelspec": {"language": "``` \n# x"}}, ""),
        ({"kernelspec": 7}, ""),
        (None, ""),
    ],
)
def test_the_kernel_tells_the_language(read, metadata, language):
    (document,), _ = read("a.ipynb", notebook([{"cell_type": "code", "source": "x"}], metadata))
    assert document.text == f"```{language}\nx\n```\n"
    assert document.meta.get("language", "") == language


def test_code_with_a_fence_in_it_gets_a_longer_one(read):
    (document,), _ = read("a.ipynb", notebook([{"cell_type": "code", "source": "s = '''\n````\n'''"}], {}))
    assert document.text == "`````\ns = '''\n````\n'''\n`````\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{cut", "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b"\xff", "not_utf8"),
        (b"[1]", "not_notebook"),
        (b'{"cells": {}}', "not_notebook"),
        (b'{"worksheets": [7]}', "not_notebook"),
        (notebook([]), "no_text"),
        (notebook([7, {}, {"cell_type": "code", "source": [1, {}]}]), "no_text"),
        (notebook([{"cell_type": "code", "source": "x" * 5000}]), "file_too_large"),
    ],
)
def test_what_is_none_is_dropped_with_a_reason(read, content, reason):
    documents, drops = read("a.ipynb", content, max_file_bytes=4000 if reason == "file_too_large" else 200_000)
    assert (documents, [drop.reason for drop in drops]) == ([], [reason])


def test_a_notebook_in_an_archive_is_read(read):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.ipynb", notebook())
    (document,), _ = read("a.zip", buffer.getvalue())
    assert (document.text, document.kind) == (TEXT, "code")
