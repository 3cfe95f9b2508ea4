"""A page, a WebSocket, a stream of events and polls through nginx by TLS, and what must be refused: python3 nginx_tls_client.py CA PORT

Ends with an exception where anything is not as it should be.
"""

import http.client
import json
import socket
import ssl
import sys
import warnings


# That TLS 1.1 is not to be used is what is tried here.
warnings.simplefilter("ignore", DeprecationWarning)


def connect(ca, port, newest=ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if newest < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = newest
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5), server_hostname="localhost")


def ask(stream, path, *headers):
    request = "\r\n".join([f"GET {path} HTTP/1.1", f"Host: localhost:{stream.getpeername()[1]}", *headers, "", ""])
    stream.sendall(request.encode())
    read = b""
    while b"\r\n\r\n" not in read:
        more = stream.recv(65536)
        assert more, f"the end after {read!r}"
        read += more
    return read


def listens(ca, port):
    """What is said on a stream of events comes while it is open."""
    with connect(ca, port) as stream:
        read = ask(stream, "/sse?channel=nginx")
        assert read.startswith(b"HTTP/1.1 200 "), read
        while b'"subscribed"' not in read:
            read += stream.recv(65536)
        published = send(ca, port, "POST", "/publish", '{"channel":"nginx","data":"heard"}')
        assert published[0] == 200, published
        while b'"heard"' not in read:
            read += stream.recv(65536)


def polls(ca, port):
    """A session that is opened, spoken to, waited for and left: each by a stream of its own."""
    status, opened = send(ca, port, "POST", "/poll")
    assert status == 200, (status, opened)
    path = "/poll?session=" + json.loads(opened)[0]["session"]
    assert send(ca, port, "POST", path, '{"type":"ping","id":7}')[0] == 204
    assert b'"pong"' in send(ca, port, "GET", path)[1]
    assert send(ca, port, "DELETE", path)[0] == 204
    assert send(ca, port, "GET", path)[0] == 404


def send(ca, port, method, path, body=""):
    context = ssl.create_default_context(cafile=ca)
    connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def main(ca, port):
    for newest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        with connect(ca, port, newest) as stream:
            assert stream.selected_alpn_protocol() in (None, "http/1.1"), stream.selected_alpn_protocol()
            page = ask(stream, "/", "Connection: close")
            assert page.startswith(b"HTTP/1.1 200 "), page
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    with connect(ca, port) as stream:
        # A page of the same host, as a browser sends it.
        read = ask(stream, "/ws", *upgrade, f"Origin: https://localhost:{port}")
        assert read.startswith(b"HTTP/1.1 101 "), read
        while b"welcome" not in read:
            read += stream.recv(65536)
    with connect(ca, port) as stream:
        assert ask(stream, "/metrics").startswith(b"HTTP/1.1 404 ")
    listens(ca, port)
    polls(ca, port)
    try:
        connect(ca, port, ssl.TLSVersion.TLSv1_1).close()
    except (ssl.SSLError, OSError):
        pass
    else:
        raise AssertionError("TLS 1.1 was taken")
    print("nginx serves pages and WebSockets by TLS 1.2 and 1.3, streams of events and polls")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]))
