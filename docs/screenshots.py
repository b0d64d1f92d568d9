"""Draw the pictures of the documentation from the running demo: ``python docs/screenshots.py``.

Starts ``chengmai demo`` in a folder of its own, waits until the scripted faults stand in the alarm list, and saves
``docs/screenshots/operations-{zh,en}-{night,day}.png`` (1920×1080) and ``…-phone.png`` (390×844), and what the burst
main and the gas alarm touch: ``impact-zh-night.png``, ``gas-reach-en-day.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--force-color-profile=srgb"]
DESK, PHONE = (1920, 1080), (390, 844)
WANTED = {"water", "gas", "drainage"}
SETTLE_MS = 6000
BURST = "water.inp:link:P128"
"""The main that the demo's script breaks, with its default seed."""
FOLDER = Path(__file__).resolve().parent / "screenshots"


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run the demo; yields its address."""
    port = free_port()
    words = ["demo", "--folder", str(folder), "--port", str(port), "--mqtt-port", str(free_port())]
    running = subprocess.Popen([sys.executable, "-m", "dashboards", *words])
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)


def ask(url: str) -> Any:
    """Return the JSON at `url`, None while nobody answers there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server on loopback
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def wait_for_alarms(url: str, timeout_s: float) -> None:
    """Wait until there is an alarm in each of the three networks, or as long as `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    systems = {"W": "water", "G": "gas", "D": "drainage"}
    while time.monotonic() < deadline:
        alarms = ask(f"{url}api/v1/alarms") or []
        seen = {systems.get((alarm["device"] or "?")[0]) for alarm in alarms}
        if seen >= WANTED:
            return
        time.sleep(2)
    sys.stderr.write("not every fault stands in the list yet; drawing what there is\n")


@contextmanager
def visit(browser: Browser, url: str, language: str, theme: str, size: tuple[int, int]) -> Iterator[Page]:
    """Open the view in a browser of its own; yields its page once the map is drawn."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, timezone_id="Asia/Shanghai", reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(f"{url}?lang={language}")
    page.locator(".ag-row").first.wait_for(timeout=60_000)
    if theme == "day":
        page.locator("#theme label").nth(1).click()
    page.locator(".city-map-phase").wait_for(state="detached", timeout=60_000)
    yield page
    context.close()


def save(page: Page, name: str) -> None:
    """Save one picture once nothing moves any more."""
    page.wait_for_timeout(SETTLE_MS)
    page.mouse.move(5, 5)
    page.screenshot(path=FOLDER / name)


def ask_in_card(page: Page, kind: str) -> None:
    """Press a question in the card and wait for its answer."""
    page.locator(f'#card-actions button[id*="{kind}"]').click(timeout=60_000)
    page.locator(f'.answer[data-kind="{kind}"]').wait_for(timeout=60_000)


def choose_worst(page: Page) -> None:
    """Choose the first alarm, then show the whole city again and put its card away."""
    page.locator(".ag-row .alarm-text").first.click()
    page.locator("#card-close").click()
    page.locator("#whole-city").click()
    page.evaluate("window.scrollTo(0, 0)")


def main() -> None:
    """Run the demo and draw every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="an operations view that runs already, instead of the demo")
    parser.add_argument("--wait", type=float, default=150, help="seconds to wait for the scripted faults")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.url:
            draw_all(options.url)
            return
        with demo(Path(folder)) as url:
            while ask(f"{url}health") is None:
                time.sleep(1)
            wait_for_alarms(url, options.wait)
            draw_all(url)


def draw_all(url: str) -> None:
    """Draw every picture of the view at `url`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for language in ("zh", "en"):
            for theme in ("night", "day"):
                for size, kind in ((DESK, ""), (PHONE, "-phone")):
                    with visit(browser, url, language, theme, size) as page:
                        choose_worst(page)
                        save(page, f"operations-{language}-{theme}{kind}.png")
        with visit(browser, url, "zh", "night", DESK) as page:
            page.evaluate("(asset) => dash_clientside.set_props('selection', {data: {asset, at: 1}})", BURST)
            ask_in_card(page, "impact")
            save(page, "impact-zh-night.png")
        with visit(browser, url, "en", "day", DESK) as page:
            page.locator(".ag-row", has_text="GM-").first.locator(".alarm-text").click()
            ask_in_card(page, "adjacency")
            save(page, "gas-reach-en-day.png")
        browser.close()


if __name__ == "__main__":
    main()
