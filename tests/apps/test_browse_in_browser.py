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
