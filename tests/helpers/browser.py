"""A headless Chromium, driven over a pipe by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol).

A pipe needs no port and no library: messages are JSON that ends in a zero byte.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

INSTALL = "XEVAL_INSTALL_CHROMIUM"  # set to 1, it lets tests install Debian's package; otherwise they install nothing
INSTALL_PATIENCE_S = 240
STARTS = 3
START_PATIENCE_S = 30
PATIENCE_S = 60


@cache
def provide() -> tuple[str | None, str]:
    """Chromium's path, or None and why there is none. If INSTALL is 1, a missing one is installed, at most once.

    Only one process looks at a time: a package that another is still unpacking has files that don't work yet.
    """
    with FileLock(Path(tempfile.gettempdir()) / "xeval-tests-chromium.lock"):
        return _provide()


def _provide() -> tuple[str | None, str]:
    if path := _find():
        return path, ""
    if os.environ.get(INSTALL) != "1":
        return None, f"there is no Chromium here; with {INSTALL}=1 the tests install Debian's chromium"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None, f"there is no Chromium here, and {INSTALL} needs root and apt-get to install it"
    problem = _install()
    path = _find()
    return path, "" if path else f"there is no Chromium here, and apt-get did not install it: {problem}"


def _find() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _install() -> str:
    """Why the package could not be installed; empty if it was."""
    until = time.monotonic() + INSTALL_PATIENCE_S
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        try:
            process = subprocess.run(
                ["apt-get", "--quiet", *words],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=max(1.0, until - time.monotonic()),
            )
        except subprocess.TimeoutExpired:
            return f"not done after {INSTALL_PATIENCE_S} s"
        if process.returncode:
            return (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return ""


def start(folder: Path) -> "Browser":
    """A browser with an empty page, its profile below `folder`.

    The tests are of pages, not of Chromium: without one that shows an empty page, they are skipped with its last words.
    """
    path, problem = provide()
    if path is None:
        pytest.skip(problem)
    for attempt in range(STARTS):
        profile = folder / f"profile{attempt}"
        try:
            return Browser(path, profile)
        except (OSError, RuntimeError) as error:  # TimeoutError is an OSError
            problem = f"{path} does not show an empty page: {error}; {_last_words(profile)}"
    pytest.skip(problem)


def _last_words(profile: Path) -> str:
    lines = (profile / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip("# ")[:300] for line in lines if line.strip("# "))[-400:]


class Browser:
    """One browser with one page. `events` holds what the browser has reported unasked, in order."""

    def __init__(self, path: str, profile: Path) -> None:
        profile.mkdir(parents=True)
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        words = [path, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        words += ["--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]
        words += [f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads from descriptor 3 and writes to 4.
        redirect = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        with (profile / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                ["bash", "-c", redirect, "bash", *words],
                pass_fds=(theirs_in, theirs_out),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._waiting, self._id, self._session, self._patience_s = b"", 0, None, START_PATIENCE_S
        self.events: list[dict[str, Any]] = []
        try:
            self._attach()
        except (OSError, RuntimeError):  # TimeoutError is an OSError
            self.close()  # otherwise the next test is blamed for a process that nobody waits for
            raise
        self._patience_s = PATIENCE_S

    def _attach(self) -> None:
        self.call("Target.setDiscoverTargets", discover=True)  # otherwise a page that crashes only falls silent
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The browser's answer to one command. Raises RuntimeError if it is an error."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._id:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        until = time.monotonic() + self._patience_s
        while b"\0" not in self._waiting:
            if not select.select([self._from], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium said nothing for {self._patience_s} s")
            received = os.read(self._from, 1 << 20)
            if not received:
                raise RuntimeError("Chromium has gone")
            self._waiting += received
        text, _, self._waiting = self._waiting.partition(b"\0")
        message = json.loads(text)
        if message.get("method") == "Target.targetCrashed":
            raise RuntimeError(f"the page crashed: {message['params']}")
        return message

    def open(self, path: Path) -> None:
        """Show the file at `path` and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._wait_until_loaded()

    def follow(self, selector: str) -> None:
        """Click on the link that a CSS `selector` finds, and wait until its page is loaded."""
        self.events.clear()
        # Click later, so that the answer arrives before the page goes.
        self.evaluate(f"void setTimeout(() => document.querySelector({json.dumps(selector)}).click())")
        self._wait_until_loaded()

    def _wait_until_loaded(self) -> None:
        while not self.reported("Page.loadEventFired"):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Save the whole page at its full height as PNG."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def reported(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def close(self) -> None:
        for descriptor in (self._to, self._from):
            os.close(descriptor)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
