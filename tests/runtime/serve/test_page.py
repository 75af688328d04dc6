"""The page in a real browser: what an operator sees, and what the browser asks for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Guard
from blurvote.runtime.observation import iso_time
from blurvote.runtime.serve import Server, serve
from tests.runtime.serve.browse import Client, until
from tests.runtime.serve.fake import FakeWatched

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage"
)
SCRIPT = "<script>document.title='caught'</script>"
NAMES = ["gate", SCRIPT, 'rtsp://cam/1?a=b&c="d"', "yard"]
TOKEN = "a-token-for-the-page"


class Page:
    """The browser's one tab."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def texts(self, css: str) -> list[str]:
        """Texts of all elements, as they are in the document."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", css
        )
        return [text.replace("\u200b", "").replace("\xa0", " ") for text in found]

    def shown(self, css: str) -> bool:
        """Whether the element takes room."""
        script = "return document.querySelector(arguments[0])?.getClientRects().length > 0"
        return bool(self.run(script, css))

    def pixels(self, css: str) -> str:
        """The canvas as a data URL."""
        return str(self.run("return document.querySelector(arguments[0]).toDataURL()", css))

    def size(self, width: int, height: int, mobile: bool = False) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
        )

    def asked(self) -> list[str]:
        """Addresses that the browser has asked for since the last call."""
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """What the console holds since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (shutil.which(CHROMIUM) and shutil.which(DRIVER)):
        pytest.skip("chromium and chromium-driver are not installed")
    profile: Path = tmp_path_factory.mktemp("profile")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver)
    finally:
        driver.quit()


@pytest.fixture
def cameras(guard: Guard, frames: list[np.ndarray]) -> Iterator[FakeWatched]:
    watched = FakeWatched(guard, list(NAMES), frames)
    watched.run(0.1)
    yield watched
    watched.stop()


@pytest.fixture
def served(cameras: FakeWatched, page: Page) -> Iterator[Server]:
    """The page, open at desktop size with a picture of each camera."""
    with serve(cameras, "127.0.0.1:0") as server:
        page.asked(), page.errors()
        page.size(1400, 1800)
        page.open(server.url)
        until(lambda: len(page.texts(".votes .said")) == 3 * len(NAMES), "a picture of each camera")
        yield server
        page.open("about:blank")


def test_cards_verdicts_votes_and_charts(served: Server, page: Page, cameras: FakeWatched) -> None:
    assert page.texts(".card .name") == NAMES
    assert page.run("return document.title") == "blurvote"  # the script in a name is text
    assert page.texts("#overall") == ["4 of 4 live"]
    until(lambda: page.run("return document.querySelectorAll('.chart canvas').length") == 4)
    seen = cameras.latest("gate")
    assert seen is not None
    assert set(page.texts(".card .view")) == {"clean", "single-blur", "double-blur"}
    spoken = {*cameras.guard.labels, "not run", "no vote"}
    assert set(page.texts(".votes .said")) <= spoken
    assert set(page.texts(".verdict .what")) <= {*cameras.guard.labels, "REJECTED"}
    before = page.pixels(".picture"), page.pixels(".votes canvas")
    until(lambda: page.pixels(".picture") != before[0], "another picture")
    until(lambda: page.pixels(".votes canvas") != before[1], "another view")
    page.run("document.querySelector('input[value=minutes]').click()")
    until(lambda: any("span=minutes" in url for url in page.asked()), "the day's history")
    assert page.errors() == []


def test_nothing_outside_the_device_is_asked_for(served: Server, page: Page) -> None:
    asked = page.asked()
    assert len(asked) > 12
    assert [url for url in asked if not url.startswith((served.url, "data:", "about:"))] == []
    assert page.errors() == []


def test_an_alarm_comes_and_goes(served: Server, page: Page, cameras: FakeWatched) -> None:
    assert not page.shown(".banner")
    cameras.alarms[SCRIPT] = {
        "raised": True,
        "phase": "raised",
        "since": iso_time(cameras.started),
        "text": "stream looks manipulated <b>",
        "threshold": 9.5,
        "statistics": {"disagreement": 14.23},
        "recent": {"disagreement": {"frames": 300, "hits": 183, "rate": 0.61}},
        "baseline": {"disagreement": {"rate": 0.0612}},
    }
    cameras.tell("alarm", SCRIPT, "raised")
    until(lambda: page.shown(".banner.alarm"), "the banner")
    (banner,) = page.texts(".banner.alarm")
    for text in (
        SCRIPT,
        "stream looks manipulated <b>",
        "61 % now, 6.1 % learned",
        "14.2, alarm from 9.5",
    ):
        assert text in banner
    assert page.run("return document.querySelectorAll('.alarmed').length") == 1
    assert page.texts("#overall") == ["4 of 4 live, 1 alarm"]
    cameras.alarms[SCRIPT] = {"raised": False, "phase": "watching"}
    cameras.tell("alarm", SCRIPT, "cleared after 8 s")
    until(lambda: not page.shown(".banner.alarm"), "the banner's end")
    until(lambda: len(page.texts("#events li")) == 2, "both events")
    assert "cleared after 8 s" in page.texts("#events li")[0]


def test_a_rejection_and_its_votes(served: Server, page: Page, cameras: FakeWatched) -> None:
    cameras.rejecting = {"gate"}
    card = ".card:first-child"
    until(lambda: page.texts(f"{card} .what") == ["REJECTED"], "the rejection")
    until(lambda: page.texts(f"{card} .said") == list(cameras.guard.labels[:3]), "its votes")
    assert page.texts(f"{card} .sure") == ["no majority"]
    assert page.texts(f"{card} .votes i") == ["≠", "≠", "≠"]
    cameras.rejecting = set()
    until(lambda: page.texts(f"{card} .what") != ["REJECTED"], "the end of it")


def test_states_are_told_in_words(served: Server, page: Page, cameras: FakeWatched) -> None:
    cameras.states["yard"], cameras.why["yard"] = "frozen", "the same picture for 12 s"
    until(lambda: "frozen" in page.texts(".state b"), "the state")
    assert page.texts(".state b") == ["live", "live", "live", "frozen"]
    assert "the same picture for 12 s" in page.texts(".card:last-child .veil")[0]
    assert page.shown(".card:last-child .veil")
    cameras.states["yard"] = "live"
    until(lambda: not page.shown(".card:last-child .veil"), "the end of it")


def test_cameras_come_and_go(served: Server, page: Page, cameras: FakeWatched) -> None:
    cameras.add("late")
    until(lambda: page.texts(".card .name") == [*NAMES, "late"])
    cameras.names.remove("gate")
    until(lambda: page.texts(".card .name") == [*NAMES[1:], "late"])


@pytest.mark.parametrize("details", [True, False])
def test_a_phone_needs_no_sideways_scroll(served: Server, page: Page, details: bool) -> None:
    page.size(375, 812, mobile=True)
    page.run("if (details.checked !== arguments[0]) details.click()", details)
    until(lambda: page.shown(".facts") is details)
    assert page.run("return innerWidth") == 375
    assert page.run("return document.documentElement.scrollWidth") <= 375
    heights = page.run(
        "return [...document.querySelectorAll('.toggle, .span label')]"
        ".map((one) => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44


def test_a_hidden_tab_asks_for_no_pictures(served: Server, page: Page) -> None:
    pictures = served._app.pictures
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:

        def still() -> bool:
            before = pictures.encoded
            deadline = served._app.watch.snapshot["uptime_s"] + 1.5
            until(lambda: served._app.watch.snapshot["uptime_s"] > deadline)
            return bool(pictures.encoded == before)

        until(still, "silence")
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    before = pictures.encoded
    until(lambda: pictures.encoded > before, "pictures again")


def test_a_lost_connection_is_told_and_found_again(
    served: Server, page: Page, cameras: FakeWatched
) -> None:
    port = Client(served).port
    served.close()
    until(lambda: page.shown("#lost"), "the banner")
    assert page.texts("#lost")[0].startswith("Connection lost, showing data of ")
    with serve(cameras, f"127.0.0.1:{port}"):
        until(lambda: not page.shown("#lost"), "the banner's end")
        before = page.pixels(".picture")
        until(lambda: page.pixels(".picture") != before, "another picture")
        page.open("about:blank")


def test_signing_in(cameras: FakeWatched, page: Page) -> None:
    with serve(cameras, "127.0.0.1:0", token=TOKEN) as server:
        page.open(server.url)
        assert page.texts("label") == ["This page needs its token"]
        page.run("token.value = arguments[0]; document.querySelector('button').click()", TOKEN)
        until(lambda: page.texts(".card .name") == NAMES, "the cameras")
        assert page.run("return location.href") == server.url
        assert page.run("return document.cookie") == ""
        page.open("about:blank")
