"""python-socketio, as people use it: rooms, private messages, binary and acks, over each transport.

Argument: the URL of nginx in front of the nodes.
"""

import queue
import sys
import time

import socketio

PATIENCE_S = 20


class Client:
    """A client that keeps what it hears."""

    def __init__(self, url, transports, network):
        self.client = socketio.Client(reconnection=False)
        self.heard = {name: queue.Queue() for name in ("room-message", "chat message", "private-message", "typing")}
        for name, heard in self.heard.items():
            self.client.on(name, lambda *said, heard=heard: heard.put(said[0]))
        self.client.connect(url, headers={"X-Forwarded-For": f"192.0.{network}.1"}, transports=transports)

    @property
    def id(self):
        return self.client.get_sid()

    def ask(self, event, data=None):
        answer = self.client.call(event, data, timeout=PATIENCE_S)
        assert answer["status"] == "ok", answer
        return answer

    def hears(self, event):
        return self.heard[event].get(timeout=PATIENCE_S)


def scenario(url, transports):
    ann, bob = Client(url, transports, 1), Client(url, transports, 2)
    room = f"python-{time.time_ns()}"
    ann.ask("join-room", room)
    bob.ask("join-room", {"room": room})
    bob.client.emit("room-message", {"room": room, "message": {"text": "hello"}})
    said = ann.hears("room-message")
    assert (said["from"], said["message"], said["room"]) == (bob.id, {"text": "hello"}, room), said
    ann.client.emit("chat message", "hello, all")
    assert bob.hears("chat message") == "hello, all"
    ann.client.emit("typing", {"room": room})
    assert bob.hears("typing") == {"room": room}
    ann.ask("private-message", {"to": bob.id, "message": b"\x00\xff"})
    said = bob.hears("private-message")
    assert (said["from"], said["message"]) == (ann.id, b"\x00\xff"), said
    assert ann.client.call("nonsense", timeout=PATIENCE_S)["status"] == "error"
    bob.ask("leave-room", room)
    for client in (ann, bob):
        client.client.disconnect()


for transports in (["websocket"], ["polling"], ["polling", "websocket"]):
    scenario(sys.argv[1], transports)
print("python-socketio: rooms, private messages, binary and acks over each transport")
