"""A server that notes who calls it: a process of its own, since GDAL does not let other threads run."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    caller, _ = server.accept()
    with open(sys.argv[1], "ab") as calls:
        calls.write(caller.recv(200).split(b"\\r")[0] + b"\\n")
    caller.sendall(b"HTTP/1.0 404 none\\r\\nContent-Length: 0\\r\\n\\r\\n")
    caller.close()
"""


class Listener:
    """Where it listens, and what it has heard."""

    def __init__(self, port: int, calls: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._calls = calls

    def heard(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@contextmanager
def listening(folder: Path) -> Iterator[Listener]:
    calls = folder / "calls"
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(calls)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield Listener(int(server.stdout.readline()), calls)
    finally:
        server.kill()
        server.communicate()
