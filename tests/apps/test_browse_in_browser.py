"""The page of `jina-embeddings browse` in a headless browser. Needs chromium and chromedriver: make test-browser."""

from __future__ import annotations

import base64
import io
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from browsed import browsing

pytestmark = pytest.mark.browser

WAIT_S = 180


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browse")
    (folder / "docs").mkdir()
    (folder / "docs" / "bread.md").write_text("# Bread\n\nFlour and water and time.\n")
    (folder / "docs" / "tea.txt").write_text("Tea needs hot water.")
    page = Image.new("RGB", (400, 560), "white")
    ImageDraw.Draw(page).ellipse((60, 60, 180, 180), fill="navy")
    ImageDraw.Draw(page).text((60, 220), "A navy circle", fill="black", font_size=24)
    page.save(folder / "docs" / "page.pdf")
    Image.new("RGB", (120, 80), "green").save(folder / "docs" / "meadow.png")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with browsing(folder / "docs", folder / "index", ["--model", "pocket", "--engine", "torch"]) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def browser(address: str) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    assert chromium, "no chromium: apt-get install chromium chromium-driver"
    assert driver, "no chromedriver: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1400"):
        options.add_argument(argument)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        opened.get(address)
        yield opened
    finally:
        opened.quit()


def until(browser: Any, script: str) -> Any:
    """The result of a script, once it is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, WAIT_S).until(lambda driver: driver.execute_script(f"return {script}"))


def ask(browser: Any, question: str) -> list[str]:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    until(browser, "document.querySelector('input[aria-label]') !== null && window.socket?.connected !== false")
    field = browser.find_element(By.CSS_SELECTOR, "input[aria-label='What are you looking for?']")
    field.send_keys(question)
    time.sleep(0.5)
    field.send_keys(Keys.ENTER)
    return sources(browser)


def sources(browser: Any) -> list[str]:
    until(browser, "/results/.test(document.querySelector('.status')?.innerText)")
    return list(
        browser.execute_script("return [...document.querySelectorAll('.result .source')].map(e => e.innerText)")
    )


def picture(browser: Any, source: str) -> np.ndarray[Any, Any]:
    """The pixels shown in the result with this source."""
    script = f"""[...document.querySelectorAll('.result')].filter(
        e => e.querySelector('.source').innerText.includes('{source}'))[0].querySelector('.picture img')?.src"""
    url = until(browser, script)
    assert url.startswith("data:image/")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"), dtype=int)


def screenshot(browser: Any, name: str) -> None:
    """Saves a screenshot, if a folder is given in the environment."""
    if folder := os.environ.get("SCREENSHOTS"):
        browser.save_screenshot(f"{folder}/{name}.png")


def test_words_find_texts_and_pictures_are_shown(browser: Any) -> None:
    found = ask(browser, "flour and water")
    assert "bread.md" in found[0]
    assert any("meadow.png" in source for source in found)
    assert (picture(browser, "meadow.png")[:, :, 1] > 100).all()
    screenshot(browser, "words")


def test_a_page_shows_where_each_word_was_found(browser: Any) -> None:
    ask(browser, "navy circle")
    before = picture(browser, "page.pdf#page=1")
    card = """[...document.querySelectorAll('.result')].filter(
        e => e.querySelector('.source').innerText.includes('page.pdf#page=1'))[0]"""
    browser.execute_script(f"{card}.querySelector('button').click()")
    words = until(browser, f"{card}.querySelector('.words') && {card}.querySelector('.words').innerText")
    assert [word.strip() for word in words.split("\n") if word.strip()] == ["all words", "1. navy", "2. circle"]
    time.sleep(2)
    overview = picture(browser, "page.pdf#page=1")
    assert overview.shape[0] > before.shape[0]
    # Tinted paper: the red of the overlay leaves less blue than white has.
    assert (overview[:, :, 2] < 200).mean() > (before[:, :, 2] < 200).mean()
    browser.execute_script(f"[...{card}.querySelectorAll('.words button')][1].click()")
    time.sleep(2)
    assert (picture(browser, "page.pdf#page=1") != overview).any()
    screenshot(browser, "overlay")


def test_a_picture_that_is_dropped_finds_its_like(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.by import By

    until(browser, "document.querySelector('input[type=file]') !== null")
    time.sleep(1)
    browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(folder / "docs" / "meadow.png"))
    assert "meadow.png" in sources(browser)[0]


def tab(browser: Any) -> str:
    """Presses Tab; returns the label of what has the focus then, or its text."""
    from selenium.webdriver.common.keys import Keys

    browser.switch_to.active_element.send_keys(Keys.TAB)
    return str(
        browser.execute_script("const e = document.activeElement; return e.ariaLabel || e.innerText.trim() || e.type")
    )


def tab_to(browser: Any, name: str) -> Any:
    """The element with this label or text, reached by Tab alone."""
    passed = []
    for _ in range(40):
        passed.append(tab(browser))
        if passed[-1].lower() == name.lower():
            return browser.switch_to.active_element
    raise AssertionError(f"{name} is not reached by Tab: {passed}")


def test_everything_is_reached_and_used_by_keyboard(browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    until(browser, "document.activeElement?.ariaLabel === 'What are you looking for?'")
    time.sleep(1)
    browser.switch_to.active_element.send_keys("navy circle" + Keys.ENTER)
    assert len(sources(browser)) == 4
    # The kind is chosen with the arrow keys: everything, text, image, page.
    tab_to(browser, "kind").send_keys(Keys.SPACE)
    until(browser, "document.querySelectorAll('.q-menu .q-item').length === 5")
    for key in (Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER):
        browser.switch_to.active_element.send_keys(key)
    until(browser, "document.querySelector('.status').innerText === '1 results'")
    assert "page.pdf#page=1" in sources(browser)[0]
    tab_to(browser, "What matched?").send_keys(Keys.ENTER)
    until(browser, "document.querySelector('.words') !== null")
    before = picture(browser, "page.pdf#page=1")
    tab_to(browser, "1. navy").send_keys(Keys.SPACE)
    deadline = time.monotonic() + WAIT_S
    while not (picture(browser, "page.pdf#page=1") != before).any():
        assert time.monotonic() < deadline, "the map of a word is not shown"
        time.sleep(0.2)


def emulate_phone(browser: Any) -> None:
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.refresh()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Any) -> None:
    emulate_phone(browser)
    ask(browser, "navy circle")
    browser.execute_script("[...document.querySelectorAll('button')].find(e => e.innerText == 'What matched?').click()")
    until(browser, "document.querySelector('.words') !== null")
    time.sleep(2)
    screenshot(browser, "phone")
    assert browser.execute_script("return innerWidth") == 360
    wider = """[...document.querySelectorAll('input, button, label, .source, .text, .picture, .status, .words')]
        .filter(e => e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)
        .map(e => [e.className, e.innerText, e.getBoundingClientRect().right])"""
    assert browser.execute_script(f"return {wider}") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    # Places to tap are not too small for a finger.
    low = "[...document.querySelectorAll('button')].map(e => e.getBoundingClientRect().height).filter(h => h && h < 24)"
    assert browser.execute_script(f"return {low}") == []


CONTRASTS = """
const channels = colour => {
    const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
};
const over = (top, bottom) => top.slice(0, 3).map((c, i) => c * top[3] / 255 + bottom[i] * (1 - top[3] / 255));
const luminance = rgb => {
    const linear = rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const background = element => {
    if (!element) return [255, 255, 255];
    return over(channels(getComputedStyle(element).backgroundColor), background(element.parentElement));
};
const found = {};
for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].filter(node => node.nodeType === 3 && node.textContent.trim());
    const style = getComputedStyle(element);
    if (!own.length || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest('.material-icons, i, script, style')) continue;
    const behind = background(element);
    const pair = [luminance(over(channels(style.color), behind)), luminance(behind)].sort((a, b) => b - a);
    found[own[0].textContent.trim().slice(0, 40)] = (pair[0] + 0.05) / (pair[1] + 0.05);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_the_light_and_in_the_dark(browser: Any, scheme: str) -> None:
    """A contrast of 4.5, as the Web Content Accessibility Guidelines ask of small texts."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.refresh()
    ask(browser, "flour and water")
    time.sleep(1)
    screenshot(browser, scheme)
    found = browser.execute_script(CONTRASTS)
    assert {"What are you looking for?", "4 results", "1. bread.md:3", "Bread", "Search"} <= set(found), sorted(found)
    assert {text: contrast for text, contrast in found.items() if contrast < 4.5} == {}
    is_dark = "return getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).every(c => c < 60)"
    assert browser.execute_script(is_dark) == (scheme == "dark")


def test_another_host_name_is_refused(address: str) -> None:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(address, headers={"Host": "attacker.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=10)


def test_only_this_machine_is_served_and_only_the_page(address: str) -> None:
    import urllib.error
    import urllib.request

    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.socket() as probe:
        # Another loopback address: a server on all interfaces would answer.
        assert probe.connect_ex(("127.0.0.2", port)) != 0
    for path in (
        "docs/bread.md",
        "../docs/bread.md",
        "..%2f" * 9 + "etc/passwd",
        "_nicegui/" + "../" * 9 + "etc/passwd",
    ):
        try:
            with urllib.request.urlopen(address + path, timeout=10) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        # NiceGUI gives the page itself for an address that it doesn't know.
        assert "Flour and water" not in text
        assert "root:" not in text
