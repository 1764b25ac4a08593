"""An HTTP client that costs next to nothing, so that what is measured is the server."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType
from typing import NamedTuple, Self

TEXT = "text/plain;version=0.0.4"
_TIMEOUT_S = 300.0


class Answer(NamedTuple):
    """A status code, the headers' bytes and the body."""

    code: int
    head: bytes
    body: bytes


class Client:
    """One connection that is kept, one request at a time; with a context over TLS, ``credentials`` in each request."""

    def __init__(self, port: int, *, context: ssl.SSLContext | None = None, credentials: str = "") -> None:
        self._port, self._credentials = port, credentials
        plain = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket = context.wrap_socket(plain) if context else plain
        self._buffer = bytearray(1 << 16)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, accept: str = TEXT, encoding: str = "identity") -> Answer:
        """Ask and read the answer whole. Raises: OSError."""
        self._socket.sendall(request(self._port, path, accept, encoding, self._credentials))
        size = 0
        while (end := self._buffer.find(b"\r\n\r\n", 0, size)) < 0:
            size += self._receive(size)
        head = bytes(self._buffer[: end + 4])
        total = len(head) + content_length(head)
        if total > len(self._buffer):
            self._buffer.extend(bytes(total - len(self._buffer)))
        while size < total:
            size += self._receive(size)
        return Answer(int(head[9:12]), head, bytes(memoryview(self._buffer)[len(head) : total]))

    def _receive(self, at: int) -> int:
        if at == len(self._buffer):
            self._buffer.extend(bytes(at))
        received = self._socket.recv_into(memoryview(self._buffer)[at:])
        if not received:
            raise ConnectionError("the server hung up")
        return received


def request(port: int, path: str, accept: str = TEXT, encoding: str = "identity", credentials: str = "") -> bytes:
    """A GET as Prometheus writes it."""
    who = f"Authorization: {credentials}\r\n" if credentials else ""
    headers = f"{who}Accept: {accept}\r\nAccept-Encoding: {encoding}\r\nUser-Agent: Prometheus/3.16.0\r\n"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode()


def content_length(head: bytes) -> int:
    """The length of the body that follows these headers. Raises: ConnectionError if they do not tell."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ConnectionError("an answer without a Content-Length")
