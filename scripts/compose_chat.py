"""The clients of scripts/compose-test as a whole: who is where, and the publishers among them."""

import asyncio
import time
from collections import Counter

import compose_cluster as cluster
from compose_client import Client

CHANNEL = "compose:chat"
# Two publishers of 4 a second: the 100 publications that a channel keeps are 12 s of absence.
PUBLISHERS, PAUSE_S = 2, 0.25
BROWSER = f"http://127.0.0.1:{cluster.PORT}"


def address(network, host=1):
    """A client's address; each network is a /24 of its own, which is what ip_hash looks at."""
    return f"10.{100 + network // 250}.{network % 250}.{host}"


class Chat:
    """All clients, and the publishers among them."""

    def __init__(self):
        self.clients = []
        self.published = []
        self._publishing = []

    def join(self):
        """One client more, from a /24 of its own; every other one is a browser, which says where its page is from."""
        number = len(self.clients)
        client = Client(cluster.PORT, CHANNEL, address(number), BROWSER if number % 2 else None)
        self.clients.append(client)
        return client

    async def join_until(self, nodes, each, most):
        """Adds clients until each of these nodes has some; False when `most` were not enough."""
        for _ in range(most):
            if all(len(self.on([node])) >= each for node in nodes):
                return True
            client = self.join()
            await client.until(lambda: client.is_subscribed, 20)
        return all(len(self.on([node])) >= each for node in nodes)

    def on(self, nodes):
        return [client for client in self.clients if client.node in nodes]

    def spread(self):
        return dict(Counter(client.node for client in self.clients))

    async def settled(self, clients, nodes, seconds=60):
        """Whether these clients are subscribed again, on these nodes."""
        began = time.monotonic()
        for client in clients:
            left = seconds - (time.monotonic() - began)
            if not await client.until(lambda c=client: c.is_subscribed and c.node in nodes, left):
                return False
        return True

    def start_publishing(self):
        self._publishing = [asyncio.create_task(self._publish(number)) for number in range(PUBLISHERS)]

    async def _publish(self, number):
        count = 0
        while True:
            count += 1
            data = f"{number}-{count}"
            await self.clients[number].publish(data, data)
            self.published.append(data)
            await asyncio.sleep(PAUSE_S)

    async def progress(self, more=8, seconds=30):
        """Whether that many publications more have been answered."""
        goal = len(self.published) + more
        deadline = time.monotonic() + seconds
        while len(self.published) < goal and time.monotonic() < deadline:
            finished = [task for task in self._publishing if task.done()]
            if finished:
                finished[0].result()
            await asyncio.sleep(PAUSE_S)
        return len(self.published) >= goal

    def refusals(self):
        """What publications were refused with, and tried again after."""
        return dict(Counter(code for client in self.clients for code in client.refusals))

    async def say_goodbye(self):
        """Ends with a last publication of each publisher; whether all clients have got these."""
        for number in range(PUBLISHERS):
            await self.clients[number].publish("end", f"end-{number}")
        for client in self.clients:
            if not await client.until(lambda c=client: c.seen.count("end") == PUBLISHERS, 20):
                return False
        return True

    async def stop_publishing(self):
        for task in self._publishing:
            task.cancel()
        await asyncio.gather(*self._publishing, return_exceptions=True)
