"""The `websockets` and `msgpack` of PyPI: echo, broadcast, a token as the first message, and bytes in MessagePack.

NODES, NGINX and SECRET name the cluster, as scripts/test sets them.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
import unittest
import uuid

import msgpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

NODES = os.environ["NODES"].split(",")
NGINX = os.environ["NGINX"]
TIMEOUT_S = 15


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + 600}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.digest(os.environ["SECRET"].encode(), signed, hashlib.sha256)
    return (signed + b"." + part(signature)).decode()


def bearer(user):
    return {"additional_headers": {"Authorization": f"Bearer {token(user)}"}}


def channel(name):
    return f"{name}-{uuid.uuid4()}"


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, TIMEOUT_S)


class Tutorials(unittest.IsolatedAsyncioTestCase):
    async def test_echo(self):
        async with connect(f"{NGINX}/raw/{channel('echo')}?echo=1", **bearer("ann")) as socket:
            # Offered by default.
            self.assertEqual([type(extension) for extension in socket.protocol.extensions], [PerMessageDeflate])
            for message in ["hello", "", "ünïcode \N{CRAB}", b"\0\xff\n", "x" * 50_000]:
                await socket.send(message)
                self.assertEqual(await soon(socket.recv()), message)

    async def test_a_smaller_window_is_kept_to_and_no_window_is_shared_between_messages(self):
        small = ClientPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=9)
        async with connect(f"{NODES[0]}/raw/{channel('small')}?echo=1", extensions=[small], **bearer("ann")) as socket:
            self.assertEqual([type(extension) for extension in socket.protocol.extensions], [PerMessageDeflate])
            for number in range(10):
                message = "".join(f"{number * line} lines, " for line in range(2_000))
                await socket.send(message)
                self.assertEqual(await soon(socket.recv()), message)

    async def test_broadcast_to_everybody_else_on_both_nodes(self):
        room = channel("broadcast")
        async with (
            connect(f"{NODES[0]}/raw/{room}", **bearer("ann")) as ann,
            connect(f"{NODES[1]}/raw/{room}?echo=1", **bearer("bob")) as bob,
        ):
            await bob.send("here is bob")
            self.assertEqual(await soon(bob.recv()), "here is bob")
            for number in range(20):
                await ann.send(str(number))
            heard = [await soon(bob.recv()) for _ in range(20)]
            self.assertEqual(heard, [str(number) for number in range(20)])

    async def test_a_token_as_the_first_message(self):
        async with connect(f"{NGINX}/ws") as socket:
            self.assertEqual(json.loads(await soon(socket.recv()))["type"], "welcome")
            await socket.send(json.dumps({"type": "auth", "id": 1, "token": token("ann")}))
            self.assertEqual(json.loads(await soon(socket.recv()))["user"], "ann")
        async with connect(f"{NODES[0]}/ws") as socket:
            await socket.send(json.dumps({"type": "auth", "id": 1, "token": "nonsense"}))
            with self.assertRaises(ConnectionClosed) as closed:
                while True:
                    await soon(socket.recv())
            self.assertEqual(closed.exception.rcvd.code, 4001)

    async def test_the_pings_of_both_sides_are_answered(self):
        async with connect(f"{NGINX}/raw/{channel('ping')}", **bearer("ann")) as socket:
            self.assertGreater(await soon(await socket.ping()), 0)


class MessagePack(unittest.IsolatedAsyncioTestCase):
    async def test_bytes_and_values_arrive_as_they_were_on_the_other_node(self):
        board = channel("packed")
        value = {"text": "é\N{CRAB}\0", "list": [1, -1, 2.5, True, None], "big": 2**63, "least": -(2**63)}
        protocol = {"subprotocols": ["gateway.v1.msgpack"]}
        async with (
            connect(f"{NODES[0]}/ws", **protocol, **bearer("ann")) as ann,
            connect(f"{NODES[1]}/ws", **protocol, **bearer("bob")) as bob,
        ):
            self.assertEqual(ann.subprotocol, "gateway.v1.msgpack")
            for socket in (ann, bob):
                await socket.send(msgpack.packb({"type": "subscribe", "id": 1, "channel": board}))
                await self.first(socket, "subscribed")
            for data in (bytes(range(256)) * 4, value, [value] * 20, "text", None):
                await ann.send(msgpack.packb({"type": "publish", "channel": board, "data": data}))
                for socket in (ann, bob):
                    publication = await self.first(socket, "publication")
                    self.assertEqual(publication["data"], data)
                    self.assertNotIn("encoding", publication)

    async def test_what_has_no_json_is_refused_with_its_id(self):
        async with connect(f"{NODES[0]}/ws", subprotocols=["gateway.v1.msgpack"], **bearer("ann")) as socket:
            for data in ({1: 2}, float("nan"), [b"bytes"], msgpack.Timestamp(1)):
                command = {"type": "publish", "id": 7, "channel": "c", "data": data}
                await socket.send(msgpack.packb(command))
                error = await self.first(socket, "error")
                self.assertEqual((error["id"], error["code"]), (7, "bad_request"), data)

    async def first(self, socket, kind):
        while True:
            message = msgpack.unpackb(await soon(socket.recv()))
            if message["type"] == kind:
                return message
            self.assertIn(message["type"], ("welcome", "join"))


if __name__ == "__main__":
    unittest.main()
