"""WebSocket clients of a cluster, over the standard library alone, that come back as the protocol asks and keep count.

A Client stays connected through whatever happens to the nodes, and notes everything that it was not promised.
"""

import asyncio
import base64
import json
import os
import random
import struct
from dataclasses import dataclass

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Lost(Exception):
    """The connection ended; `code` is the close code, 1006 without one, or the HTTP status of a refused handshake."""

    def __init__(self, code):
        super().__init__(f"ended with {code}")
        self.code = code


class Socket:
    """One WebSocket. Pings are answered while somebody waits in receive()."""

    @classmethod
    async def open(cls, port, path, forwarded_for, origin=None):
        self = cls()
        try:
            self.reader, self.writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)
            head = [
                f"GET {path} HTTP/1.1",
                f"Host: 127.0.0.1:{port}",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                f"X-Forwarded-For: {forwarded_for}",
            ] + ([f"Origin: {origin}"] if origin else [])
            self.writer.write("\r\n".join([*head, "", ""]).encode())
            answer = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            raise Lost(1006) from error
        status = int(answer.split(b" ", 2)[1])
        if status != 101:
            self.writer.close()
            raise Lost(status)
        return self

    def _write(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        size = struct.pack("!B", 0x80 | length) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.writer.write(struct.pack("!B", 0x80 | opcode) + size + mask + masked)

    def send(self, text):
        self._write(TEXT, text.encode())

    async def receive(self):
        """The next text message."""
        try:
            while True:
                opcode, length = struct.unpack("!BB", await self.reader.readexactly(2))
                if length == 126:
                    (length,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(length)
                if opcode & 0x0F == TEXT:
                    return payload.decode()
                if opcode & 0x0F == PING:
                    self._write(PONG, payload)
                if opcode & 0x0F == CLOSE:
                    self._write(CLOSE, payload[:2])
                    raise Lost(struct.unpack("!H", payload[:2])[0] if payload else 1005)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Lost(1006) from error

    def close(self):
        self._write(CLOSE, struct.pack("!H", 1000))
        self.writer.close()


@dataclass
class Ending:
    """How one connection of a client ended, and whether a `reconnect` push had announced it."""

    node: str
    code: int
    was_told: bool


class Client:
    """Subscribes to one channel and stays, over as many connections as it takes, from the address `forwarded_for`."""

    def __init__(self, port, channel, forwarded_for, origin=None):
        self.port, self.channel, self.forwarded_for, self.origin = port, channel, forwarded_for, origin
        self.node = None
        self.position = None
        self.seen = []
        self.endings = []
        self.refusals = []
        self.failed_attempts = []
        self.faults = []
        self._socket = None
        self._waiting = {}
        self._last_id = 0
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._stay())

    @property
    def is_subscribed(self):
        return self._socket is not None

    async def until(self, condition, seconds):
        """Waits until the condition holds; False when time is up. It is asked again whenever something arrives."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            if self._task.done() and self._task.exception():
                raise self._task.exception()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except asyncio.TimeoutError:
                pass
        return True

    async def ask(self, command):
        """The answer to a command; Lost when the connection ends before it comes, or it takes ten seconds."""
        if self._socket is None:
            raise Lost(1006)
        self._last_id += 1
        answer = asyncio.get_running_loop().create_future()
        self._waiting[self._last_id] = answer
        self._socket.send(json.dumps({**command, "id": self._last_id}))
        try:
            return await asyncio.wait_for(answer, 10)
        except asyncio.TimeoutError as error:
            raise Lost(1006) from error

    async def publish(self, data, key):
        """Publishes exactly once, however often it takes to be told so."""
        while True:
            try:
                answer = await self.ask({"type": "publish", "channel": self.channel, "data": data, "key": key})
            except Lost:
                await self.until(lambda: self.is_subscribed, 60)
                continue
            if answer["type"] == "published":
                return
            self.refusals.append(answer["code"])
            if not answer["temporary"]:
                self.faults.append(f"a publication was refused with {answer['code']}")
                return
            await asyncio.sleep(0.2)

    async def members(self):
        """The user names present in the channel, as this client's node knows them."""
        answer = await self.ask({"type": "presence", "channel": self.channel})
        return [member["user"] for member in answer.get("members", [])]

    async def leave(self):
        """Says goodbye for good."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _stay(self):
        failures = 0
        while True:
            reconnect = {"after_ms": None}
            try:
                await self._connection(reconnect)
            except Lost as lost:
                was_on, self.node = self.node, None
                if was_on is None:
                    failures += 1
                    self.failed_attempts.append(lost.code)
                else:
                    failures = 0
                    self.endings.append(Ending(was_on, lost.code, reconnect["after_ms"] is not None))
                self._drop()
                if lost.code // 100 == 42:
                    pause = (reconnect["after_ms"] or 0) / 1000
                else:
                    pause = random.uniform(0, min(30, 0.5 * 2**failures))
                await asyncio.sleep(pause)

    async def _connection(self, reconnect):
        socket = await Socket.open(self.port, "/ws", self.forwarded_for, self.origin)
        try:
            welcome = json.loads(await asyncio.wait_for(socket.receive(), 10))
            self.node = welcome["node"].split(".")[0]
            subscribe = {"type": "subscribe", "channel": self.channel, "id": 0}
            if self.position:
                subscribe["recover"] = self.position
            socket.send(json.dumps(subscribe))
            while True:
                self._take(json.loads(await socket.receive()), socket, reconnect)
                self._changed.set()
        except asyncio.TimeoutError as error:
            raise Lost(1006) from error
        finally:
            if not socket.writer.is_closing():
                socket.close()

    def _take(self, message, socket, reconnect):
        kind = message["type"]
        if kind == "subscribed":
            self._subscribed(message)
            self._socket = socket
        elif kind == "publication":
            self._publication(message)
        elif kind == "reconnect":
            reconnect["after_ms"] = message["after_ms"]
        elif kind == "error" and message.get("id") == 0:
            # The broker is away for a moment: come back.
            raise Lost(1006)
        elif message.get("id") in self._waiting:
            answer = self._waiting.pop(message["id"])
            if not answer.done():
                answer.set_result(message)
        elif kind in ("gap", "unsubscribed", "error"):
            self.faults.append(json.dumps(message))

    def _subscribed(self, message):
        if self.position is None:
            self.position = {"epoch": message["epoch"], "offset": message["offset"]}
            return
        if not message["recovered"]:
            self.faults.append(f"not recovered from {self.position}")
        for publication in message["publications"]:
            self._publication(publication)
        if message["epoch"] != self.position["epoch"]:
            self.faults.append(f"the epoch {self.position['epoch']} has become {message['epoch']}")
        self.position = {"epoch": message["epoch"], "offset": message["offset"]}

    def _publication(self, publication):
        expected = self.position["offset"] + 1
        if publication["offset"] != expected:
            self.faults.append(f"publication {publication['offset']} came where {expected} was due")
        self.position["offset"] = publication["offset"]
        self.seen.append(publication["data"])

    def _drop(self):
        self._socket = None
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(Lost(1006))
        self._changed.set()
