"""A page and a WebSocket through nginx by TLS, and what must be refused: python3 nginx_tls_client.py CA PORT

Ends with an exception where anything is not as it should be.
"""

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
    try:
        connect(ca, port, ssl.TLSVersion.TLSv1_1).close()
    except (ssl.SSLError, OSError):
        pass
    else:
        raise AssertionError("TLS 1.1 was taken")
    print("nginx serves pages and WebSockets by TLS 1.2 and 1.3")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]))
