"""What the engine uses of Ray, in this process: nodes of some cores that may be lost, actors that wait for a core."""

from __future__ import annotations

from types import SimpleNamespace


class RayError(Exception):
    pass


class Actor:
    def __init__(self, ray):
        self.node, self.is_alive = None, True
        self.start = SimpleNamespace(remote=lambda: (self, object(), None))
        self.do = SimpleNamespace(remote=lambda stage, number: (self, object(), number))
        ray.actors.append(self)


class FakeRay:
    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, network, num_nodes=1, num_cores=2, losses=()):
        self.network, self.num_cores, self.losses = network, num_cores, list(losses)
        self.alive = [True] * num_nodes
        self.actors = []

    def init(self, *address, **options):
        pass

    def shutdown(self):
        self.actors.clear()

    def remote(self, **options):
        return lambda kind: SimpleNamespace(
            options=lambda **wants: SimpleNamespace(remote=lambda *arguments: Actor(self))
        )

    def nodes(self):
        return [{"Alive": alive, "Resources": {"CPU": self.num_cores, "memory": 1e12}} for alive in self.alive]

    def kill(self, actor):
        actor.is_alive = False

    def wait(self, calls, num_returns, timeout):
        while self.losses and self.losses[0][0] <= self.network.now:
            _, lost = self.losses.pop(0)
            self.alive[lost] = False
            for actor in self.actors:
                actor.is_alive &= actor.node != lost
        for node, alive in enumerate(self.alive):
            used = sum(actor.is_alive and actor.node == node for actor in self.actors)
            for actor in [each for each in self.actors if each.is_alive and each.node is None][: self.num_cores - used]:
                actor.node = node if alive else None
        ended = [call for call in calls if call[0].node is not None or not call[0].is_alive]
        if not ended:
            self.network.sleep(timeout)
        return ended[:num_returns], []

    def get(self, call):
        actor, _, number = call
        if not actor.is_alive:
            raise RayError("The actor is dead.\nThe actor died because its node has died. Node Id: 1")
        return {} if number is None else self.network.message_of(number)
