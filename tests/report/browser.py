"""A headless Chromium that is asked what it sees, over the pipe of its own protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Page:
    """A page that is open. `complaints` is what the console said, `requests` the addresses that were asked for."""

    def __init__(self, read: int, write: int) -> None:
        self._in, self._out = read, write
        self._asked = 0
        self._session: str | None = None
        self._rest = b""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._events: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a call of the protocol."""
        self._asked += 1
        call = {"id": self._asked, "method": method, "params": parameters}
        call |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(call).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._asked:
                assert "error" not in told, told
                answer: dict[str, Any] = told["result"]
                return answer

    def open(self, file: Path) -> None:
        """Load a file, and wait until it is there."""
        self._events.clear()
        self.ask("Page.navigate", url=file.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._next()

    def look(self, width: int = 1200, height: int = 900, scheme: str = "light", media: str = "screen") -> None:
        """See it on a screen of that size, in light or dark, or as it is printed."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, file: Path) -> None:
        """The whole page as it is seen, as PNG."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def printed(self) -> bytes:
        """The page as PDF, on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.ask("Page.printToPDF", **size)["data"])

    def _next(self) -> dict[str, Any]:
        """The next thing the browser says, of which complaints and requests are kept."""
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        method = told.get("method", "")
        self._events.append(method)
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(told["params"]))
        if method == "Network.requestWillBeSent":
            self.requests.append(told["params"]["request"]["url"])
        return told


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """Inside, a browser runs that keeps what it must keep in `folder`."""
    to_read, to_write, from_read, from_write = *os.pipe(), *os.pipe()
    command = [str(CHROMIUM), *_QUIET, f"--user-data-dir={folder / 'profile'}"]
    script = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    running = subprocess.Popen(
        ["bash", "-c", script, "bash", *command],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Page(from_read, to_write)
    finally:
        running.kill()
        running.wait()
        os.close(from_read)
        os.close(to_write)
