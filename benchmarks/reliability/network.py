"""Two machines in one: network namespaces on a bridge, of which a cable can be cut. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class Network:
    """Two network namespaces on a bridge in a third, all of this process alone."""

    def __init__(self) -> None:
        self._name = f"hw{os.getpid() % 100_000}"

    def address(self, node: int) -> str:
        return f"10.77.0.{node + 1}"

    def device(self, node: int) -> str:
        return f"{self._name}v{node}"

    def inside(self, node: int, words: list[str]) -> list[str]:
        return ["ip", "netns", "exec", f"{self._name}-{node}", *words]

    def node_of(self, pid: int) -> int:
        found = subprocess.run(["ip", "netns", "identify", str(pid)], capture_output=True, text=True)
        return int(found.stdout.strip().rpartition("-")[2] or -1)

    def make(self) -> None:
        name = self._name
        for end in ("0", "1", "bridge"):
            ip(f"netns add {name}-{end}")
        ip(f"-n {name}-bridge link add name {name}b type bridge")
        ip(f"-n {name}-bridge link set dev {name}b up")
        for node in (0, 1):
            ip(f"-n {name}-bridge link add name {name}p{node} type veth peer name {name}v{node} netns {name}-{node}")
            ip(f"-n {name}-bridge link set dev {name}p{node} master {name}b up")
            ip(f"-n {name}-{node} addr add {self.address(node)}/24 dev {name}v{node}")
            ip(f"-n {name}-{node} link set dev {name}v{node} up")
            ip(f"-n {name}-{node} link set dev lo up")

    def cut(self) -> None:
        ip(f"-n {self._name}-bridge link set dev {self._name}p1 down")

    def mend(self) -> None:
        ip(f"-n {self._name}-bridge link set dev {self._name}p1 up")

    def remove(self) -> None:
        for end in ("0", "1", "bridge"):
            subprocess.run(["ip", "netns", "del", f"{self._name}-{end}"], stderr=subprocess.DEVNULL)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


@contextmanager
def network() -> Iterator[Network]:
    net = Network()
    try:
        net.make()
        yield net
    finally:
        net.remove()
