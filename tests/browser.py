"""A headless Chromium for the tests of the report page, as a user has it: mouse, keys, no
network."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--force-device-scale-factor=1",
)


def why_no_browser() -> str:
    """Why the page cannot be tested in a browser here; empty where it can."""
    missing = [tool for tool in ("chromium", "chromedriver") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)} (sh .ci/deps.sh installs them)" if missing else ""


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A driver whose console and network are logged; the browser ends with the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(
    driver: Any, path: Path, width: int = 1400, dark: bool = False, fragment: str = ""
) -> None:
    """Open a file as from the disk, in a window of that width and with what the system prefers."""
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    likes = {
        "prefers-color-scheme": "dark" if dark else "light",
        "prefers-reduced-motion": "reduce",
    }
    features = [{"name": name, "value": value} for name, value in likes.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(path.as_uri() + fragment)


def requested(driver: Any) -> list[str]:
    """The addresses that the page asked for since it was opened, itself first."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]


def complaints(driver: Any) -> list[str]:
    """What stands in the console since it was asked last."""
    return [f"{entry['level']}: {entry['message']}" for entry in driver.get_log("browser")]


def printed(driver: Any) -> bytes:
    """The page as a PDF, as its print stylesheet has it."""
    answer = driver.execute_cdp_cmd(
        "Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True}
    )
    return base64.b64decode(answer["data"])
