"""Lists of hosts and addresses: what they name is dropped with its bytes, before it is parsed where that can be."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_files import http, warc

from headwater.core.errors import DataError
from headwater.corpus.inputs import corpus_inputs, corpus_key
from headwater.corpus.read.blocked import BlockedAddresses
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.sources.settings import CorpusSettings

HOSTS = "# those of somebody\nAds.example   # with a word on it\n\n*.tracker.test\n0.0.0.0 bücher.example.\n"
URLS = "https://good.example/bad/page?x=1#top\ngood.example/other/\n"
BLOCKED = {
    "https://ads.example/": "host ads.example",
    "http://WWW.ads.Example:8080/a?b": "host ads.example",
    "https://a.b.tracker.test/x": "host tracker.test",
    "https://xn--bcher-kva.example/": "host xn--bcher-kva.example",
    "http://good.example/bad/page?x=1": "address good.example/bad/page?x=1",
    "https://user@good.example:443/other#y": "address good.example/other",
}
READ = [
    "https://badads.example/",
    "https://example/",
    "https://good.example/bad/page",
    "https://good.example/other/z",
    "ads",
    "http://[",
    "",
]


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "hosts.txt").write_text(HOSTS, encoding="utf-8")
    (tmp_path / "urls.txt.gz").write_bytes(gzip.compress(URLS.encode()))
    return {"blocked_hosts": [f"{tmp_path}/hosts.txt"], "blocked_urls": [f"{tmp_path}/urls.txt.gz"]}


@pytest.mark.parametrize("name", ["a.warc", "a.jsonl", "a.html"])
@pytest.mark.parametrize(("address", "why"), [*BLOCKED.items(), *((address, "") for address in READ)])
def test_a_page_of_a_blocked_address_is_dropped_and_counted(read, lists, name, address, why):
    page = f'<html><head><link rel="canonical" href="{address}"></head><body><p>Rain falls.</p></body></html>'.encode()
    content = {
        "a.warc": warc("response", http(page), f"WARC-Target-URI: {address}"),
        "a.jsonl": json.dumps({"text": "Rain falls.", "url": address}).encode(),
        "a.html": page,
    }[name]
    documents, drops = read(name, content, kind="web", **lists)
    assert [document.text for document in documents] == ([] if why else ["Rain falls."])
    assert [(drop.reason, drop.because) for drop in drops] == ([("blocked_address", why)] if why else [])
    assert all(drop.num_bytes >= len("Rain falls.") for drop in drops)


NAMES = st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3}){0,3}", fullmatch=True)


@given(hosts=st.sets(NAMES, max_size=20), host=NAMES)
def test_a_host_is_blocked_by_itself_and_all_above_it_alone(tmp_path_factory, hosts, host):
    path = tmp_path_factory.mktemp("lists") / "hosts"
    path.write_text("\n".join(hosts))
    blocked = BlockedAddresses(ReadLimits(1, 1, 1, blocked_hosts=(str(path),)))
    assert bool(blocked.why(f"https://{host}/page")) == any(f".{host}".endswith(f".{each}") for each in hosts)


def test_a_list_counts_as_an_input_and_one_that_is_missing_is_named(lists, tmp_path):
    def key() -> str:
        settings = CorpusSettings.model_validate({"sources": {"a": {"paths": [f"{tmp_path}/hosts.txt"]}}, **lists})
        return corpus_key(settings, corpus_inputs(settings))

    first = key()
    (tmp_path / "urls.txt.gz").write_bytes(gzip.compress(b"good.example/more"))
    assert key() != first
    lists["blocked_hosts"] = [str(tmp_path / "gone.txt")]
    with pytest.raises(DataError, match=r"corpus\.blocked_hosts: there is no file .*gone\.txt; correct it"):
        key()
