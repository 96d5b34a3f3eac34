"""A bucket on a real server that speaks S3, behind a gate that can be shut."""

import contextlib
import select
import socket
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped, unused-ignore]
from moto.server import ThreadedMotoServer

BUCKET = "experiments"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Gate(socketserver.ThreadingTCPServer):
    """Hands connections on to a server; shut, it hangs up, or answers that access is denied."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, server: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server, self.state = server, "open"
        self.alive: set[socket.socket] = set()

    def set(self, state: str) -> None:
        """`open`, `closed` or `denied`, also for the connections that there are."""
        self.state = state
        for connection in list(self.alive):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        gate = self.server
        if gate.state == "closed":
            return
        if gate.state == "denied":
            self.request.recv(65536)
            head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(DENIED)}\r\n"
            self.request.sendall(head.encode() + b"Connection: close\r\n\r\n" + DENIED)
            return
        with socket.create_connection(gate.server) as behind, contextlib.suppress(OSError):
            gate.alive.add(self.request)
            ways = {self.request: behind, behind: self.request}
            while gate.state == "open":
                for readable in select.select(list(ways), [], [], 1)[0]:
                    if not (content := readable.recv(65536)):
                        return
                    ways[readable].sendall(content)
            gate.alive.discard(self.request)


class Bucket:
    """A bucket, and how a run reaches it."""

    def __init__(self, gate: Gate, direct: str, key: str, secret: str) -> None:
        self.gate = gate
        self.host = f"127.0.0.1:{gate.server_address[1]}"
        self.env = {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://{self.host}",
        }
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=direct,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )
        reset = urllib.request.Request(f"{direct}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=30).close()  # what another test has left
        self.client.create_bucket(Bucket=BUCKET)

    def objects(self, part: str = "") -> dict[str, bytes]:
        """What the bucket holds, past the gate, but what is deleted meanwhile.

        part: of the names
        """
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        names = [item["Key"] for page in pages for item in page.get("Contents", [])]
        found = {}
        for name in (name for name in names if part in name):
            with contextlib.suppress(self.client.exceptions.NoSuchKey):
                found[name] = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return found

    def download(self, folder: Path) -> Path:
        """Write all that the bucket holds into a folder that is new."""
        for name, content in self.objects().items():
            if not name.endswith("/"):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return folder


@contextlib.contextmanager
def bucket(key: str, secret: str) -> Iterator[Bucket]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    gate = Gate((host, port))
    threading.Thread(target=gate.serve_forever, daemon=True).start()
    try:
        yield Bucket(gate, f"http://{host}:{port}", key, secret)
    finally:
        gate.set("closed")
        gate.shutdown()
        gate.server_close()
        server.stop()
