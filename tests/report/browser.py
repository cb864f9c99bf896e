"""A headless Chromium, spoken to through a pipe: loads a page at a width, measures and photographs it."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    "--remote-debugging-pipe",
)
#: Gives a program its pipe where it looks for it, as the files 3 (to read) and 4, and becomes the program.
START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number, inheritable=True)
os.execv(sys.argv[3], sys.argv[3:])
"""
#: Seconds that a start or an answer may take on a busy machine.
PATIENCE = 120


def find_browser():
    """Give the path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a browser that runs."""

    def __init__(self, speak):
        self.speak = speak

    def evaluate(self, expression):
        """Evaluate JavaScript; promises are waited for."""
        answer = self.speak(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def photograph(self):
        """Give a PNG of the whole page, not only of what a window shows."""
        answer = self.speak("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])


class Pipe:
    """Messages of the DevTools protocol, each ended by a zero byte."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing
        self.rest, self.number, self.session = b"", 0, None

    def speak(self, method, **parameters):
        """Call a method and give its result; events in between are passed over."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.hear()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def hear(self):
        """Wait for a message."""
        while b"\0" not in self.rest:
            piece = os.read(self.reading, 1 << 20)
            assert piece, "the browser has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def opened(browser, page: Path, width: int, height: int, profile: Path):
    """Open a page in a window of so many pixels; below 500 px, as a phone does (its meta viewport counts)."""
    to_browser, our_end = os.pipe()
    our_ear, from_browser = os.pipe()
    words = [browser, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(to_browser), str(from_browser), *words],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        pipe = Pipe(our_ear, our_end)
        target = pipe.speak("Target.createTarget", url="about:blank")["targetId"]
        pipe.session = pipe.speak("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        pipe.speak(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        pipe.speak("Page.enable")
        pipe.speak("Page.navigate", url=page.resolve().as_uri())
        shown = Page(pipe.speak)
        wait_until_loaded(shown, page)
        yield shown
    finally:
        process.kill()
        process.wait()
        os.close(our_ear)
        os.close(our_end)


def wait_until_loaded(shown, page):
    """Wait until the document and all its pictures are there."""
    address = json.dumps(page.resolve().as_uri())
    ready = f"location.href === {address} && document.readyState === 'complete'"
    ends = time.monotonic() + PATIENCE
    while not shown.evaluate(ready):
        assert time.monotonic() < ends, "the page does not load"
        time.sleep(0.05)
