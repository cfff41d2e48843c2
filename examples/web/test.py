#!/usr/bin/env python3
"""Opens the built page in headless Chromium, with WebGPU on SwiftShader, and uses it as a visitor does.

    test.py FOLDER [--pictures FOLDER]

Ten test images are clicked, and the answers of all variants are held to those of the native crate in answers.json,
which tests/web.rs holds to the crate: with the kernels for processors, and once more with those for GPUs. A garment is
drawn by mouse; and a browser without WebGPU is told so.
Needs Python 3 and nothing else: Chromium is driven through a pipe.
"""

import base64
import contextlib
import functools
import http.server
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = json.loads((HERE / "answers.json").read_text())
VARIANTS = ["fp32", "fp16", "static-int8", "dynamic-int8"]
# Seconds for the page to load, calibrate and compile on a processor, and for anything else.
START, STEP = 120, 30
CHROMIUM = [
    "--headless", "--no-sandbox", "--remote-debugging-pipe", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--hide-scrollbars", "--mute-audio",
]


class Wrong(Exception):
    """What the page got wrong."""


class Browser:
    """Chromium, by its DevTools protocol over two pipes."""

    def __init__(self, program, profile):
        into, self.out = os.pipe()
        self.into, out = os.pipe()
        # Out of the way of the two numbers that Chromium wants.
        high = [os.dup2(fd, 60 + i) for i, fd in enumerate((into, out))]

        def places():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.log = open(pathlib.Path(profile) / "log", "w+")
        self.process = subprocess.Popen(
            [program, *CHROMIUM, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(3, 4, *high), preexec_fn=places, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log, start_new_session=True,
        )
        for fd in (into, out, *high):
            os.close(fd)
        self.calls, self.received, self.complaints = 0, b"", []

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def receive(self, deadline):
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.into], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self.into, 1 << 16) if ready else b""
            if not part:
                self.log.seek(0)
                what = "did not answer" if not ready else "ended"
                raise Wrong(f"Chromium {what}:\n{self.log.read()[-2000:]}")
            self.received += part
        message, self.received = self.received.split(b"\0", 1)
        message = json.loads(message)
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        if message.get("method") == "Runtime.consoleAPICalled" and message["params"]["type"] in ("error", "assert"):
            self.complaints.append(" ".join(str(a.get("value", a.get("description"))) for a in message["params"]["args"]))
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])
        return message

    def call(self, method, session=None, **params):
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + STEP
        while (answer := self.receive(deadline)).get("id") != self.calls:
            pass
        if "error" in answer:
            raise Wrong(f"{method}: {answer['error']['message']}")
        return answer["result"]


class Page:
    """A tab."""

    def __init__(self, browser, size=(1440, 900), dark=False, before=None):
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=size[0] < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.call("Target.closeTarget", targetId=self.target)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise Wrong(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not self.value(condition):
            if time.monotonic() > deadline:
                raise Wrong(f"{what}: not in {seconds} s; the page says: {self.says()}")
            time.sleep(0.05)

    def says(self):
        return self.value("document.getElementById('message').textContent + ' ' + document.getElementById('status').textContent")

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("['ready', 'failed'].includes(document.body?.dataset.state)", START, "the page is ready")

    def place(self, selector, x=0.5, y=0.5):
        """Where a part of an element is, scrolled to."""
        box = self.value(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{ block: "nearest" }}); const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }})()""")
        return box[0] + x * box[2], box[1] + y * box[3]

    def mouse(self, kind, at, buttons):
        self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", buttons=buttons, clickCount=1)

    def click(self, selector):
        at = self.place(selector)
        self.mouse("mousePressed", at, 1)
        self.mouse("mouseReleased", at, 0)

    def stroke(self, selector, points):
        places = [self.place(selector, x, y) for x, y in points]
        self.mouse("mousePressed", places[0], 1)
        for at in places[1:]:
            self.mouse("mouseMoved", at, 1)
        self.mouse("mouseReleased", places[-1], 0)

    def settle(self):
        self.wait("document.body.dataset.state !== 'busy'", STEP, "the variants answer")

    def answers(self):
        """What each card says: its class in words, and its probabilities."""
        cards = self.value("""[...document.querySelectorAll(".card")].map((c) => [c.dataset.variant,
            c.querySelector(".label").textContent, JSON.parse(c.dataset.probabilities), c.querySelector(".time").textContent,
            c.querySelector(".file").textContent])""")
        return {name: (label, probabilities, time, file) for name, label, probabilities, time, file in cards}

    def picture(self, path):
        image = self.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(image))


def check_images(page):
    for image in EXPECTED["images"]:
        page.click(f"#garments button[data-index='{image['index']}']")
        page.settle()
        source = page.value("document.getElementById('source').textContent")
        if source != f"Test image {image['index']}, labelled {image['label']}.":
            raise Wrong(f"image {image['index']} was clicked, and the page shows `{source}`")
        answers = page.answers()
        for variant in VARIANTS:
            wanted, (label, found, *_) = image[variant], answers[variant]
            apart = max(abs(a - b) for a, b in zip(found, wanted))
            tolerance = EXPECTED["tolerance"][variant]
            if label != image["label"] or len(found) != len(wanted) or not apart <= tolerance:
                raise Wrong(
                    f"image {image['index']}, {variant}: `{label}`, {apart:.5f} from the native crate's probabilities "
                    f"(at most {tolerance}), expected `{image['label']}`:\n{found}\n{wanted}"
                )
        apart = max(abs(a - b) for a, b in zip(answers["fp32"][1], image["fp32"]))
        others = ", ".join(f"{v} {max(abs(a - b) for a, b in zip(answers[v][1], image[v])):.4f}" for v in VARIANTS[1:])
        print(f"image {image['index']:2} {image['label']:11} in all variants; from native: fp32 {apart:.6f}, {others}")
    for variant, (_, _, took, file) in answers.items():
        print(f"{variant:12} {took} {file}")


def draw_trousers(page):
    page.click("#clear")
    page.settle()
    page.value("document.getElementById('size').value = 2")
    for x in (0.36, 0.42):
        page.stroke("#drawing", [(x, 0.14), (x - 0.02, 0.5), (x - 0.04, 0.86)])
        page.stroke("#drawing", [(1 - x, 0.14), (1 - x + 0.02, 0.5), (1 - x + 0.04, 0.86)])
    page.stroke("#drawing", [(0.36, 0.14), (0.64, 0.14), (0.64, 0.22), (0.36, 0.22), (0.36, 0.3), (0.64, 0.3)])
    page.settle()


def check_drawing(page):
    draw_trousers(page)
    labels = [label for label, *_ in page.answers().values()]
    if page.value("document.getElementById('source').textContent") != "Your drawing." or set(labels) != {"Trouser"}:
        raise Wrong(f"trousers were drawn, and the variants say {labels}")
    page.click("#measure")
    page.wait("document.body.dataset.state === 'ready' && !document.getElementById('measure').disabled", START, "50 runs")
    print("trousers drawn by mouse: Trouser in all variants; times of 50 runs:", ", ".join(
        f"{name} {took}" for name, (_, _, took, _) in page.answers().items()))


def check_gpu_kernels(browser, url):
    """The kernels that a GPU would get: tiles in workgroup memory, and dot4I8Packed."""
    with Page(browser, before="Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false })") as page:
        page.open(url)
        if "processor" in page.value("document.getElementById('device').textContent"):
            raise Wrong("the adapter still calls itself a processor")
        print("with the kernels for GPUs:")
        check_images(page)


def check_without(browser, url):
    for what, before, says in (
        ("WebGPU", "delete Navigator.prototype.gpu", "There is no WebGPU here."),
        ("an adapter", "GPU.prototype.requestAdapter = async () => null", "WebGPU finds no GPU."),
    ):
        with Page(browser, before=before) as page:
            page.open(url)
            message = page.value("document.querySelector('#message:not([hidden])')?.innerText ?? ''").replace("\n", " ")
        if not message.startswith(says):
            raise Wrong(f"without {what} the page says `{message}`, not `{says}`")
        print(f"without {what}: {message}")


def pictures(browser, url, page, folder):
    folder.mkdir(parents=True, exist_ok=True)
    page.call("Page.bringToFront")
    # An image that the variants do not agree on.
    page.click("#more")
    page.click("#garments button[data-index='51']")
    page.settle()
    page.click("#measure")
    page.wait("document.body.dataset.state === 'ready' && !document.getElementById('measure').disabled", START, "50 runs")
    page.value("document.activeElement.blur(), scrollTo(0, 0)")
    page.picture(folder / "web.png")
    for name, size, dark in (("dark", (1440, 860), True), ("phone", (390, 1900), False), ("tablet", (820, 1180), True)):
        with Page(browser, size, dark) as other:
            other.open(url)
            draw_trousers(other)
            other.value("document.activeElement.blur(), scrollTo(0, 0)")
            other.picture(folder / f"web-{name}.png")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_):
        pass

    def copyfile(self, source, outputfile):
        # The page takes the first part of a file, and closes the connection.
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


def main():
    folder = pathlib.Path(sys.argv[1])
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        raise Wrong("there is no Chromium; CHROMIUM=PATH names one")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/index.html"
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(program, profile)
            try:
                start = time.monotonic()
                page = Page(browser, (1440, 860))
                page.open(url)
                if page.value("document.body.dataset.state") != "ready":
                    raise Wrong(f"the page says: {page.says()}")
                print(f"ready in {time.monotonic() - start:.1f} s: {page.value('document.getElementById(`device`).textContent')}")
                check_images(page)
                check_drawing(page)
                check_without(browser, url)
                check_gpu_kernels(browser, url)
                if sys.argv[2:3] == ["--pictures"]:
                    pictures(browser, url, page, pathlib.Path(sys.argv[3]))
                if browser.complaints:
                    raise Wrong("the browser complains:\n" + "\n".join(browser.complaints))
            except Wrong as wrong:
                raise Wrong("\n".join([str(wrong), *browser.complaints])) from None
            finally:
                browser.close()
                server.shutdown()
    print("web: the page answers as the native crate does")


if __name__ == "__main__":
    # Whoever ends this ends the browser too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("web: ended from outside"))
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"web: {wrong}")
