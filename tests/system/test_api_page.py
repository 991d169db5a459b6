"""
The page that shows the REST API, in headless Chromium: it asks nobody but the broker, and makes calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import StartBroker

webdriver = pytest.importorskip("selenium.webdriver")
waiting = pytest.importorskip("selenium.webdriver.support.wait")

_CHROMIUM, _DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(not (_CHROMIUM.exists() and _DRIVER.exists()), reason="needs chromium and chromium-driver"),
]


@pytest.fixture
def browser() -> Iterator[Any]:
    """
    A browser without a window.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(_DRIVER)))
    yield driver
    driver.quit()


def test_page(startBroker: StartBroker, browser: Any) -> None:
    """
    All calls are shown and can be searched. One is refused without credentials, and made with those that were typed;
    its answer is shown as text. A stream is shown as it comes, until it is stopped.
    """
    broker = startBroker(
        {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}, 2
    )
    (listening,) = broker.waitFor(r"listening: management:http on 127\.0\.0\.1:(\d+)")
    browser.get(f"http://127.0.0.1:{listening[1]}/api-docs")
    waitFor(browser, "return document.body.dataset.ready === 'yes'")
    calls = browser.execute_script("return document.querySelectorAll('details').length")
    assert calls > 60

    browser.execute_script("location.hash = 'list_clients'")
    waitFor(browser, "return document.querySelector('#list_clients').open")
    send(browser, "list_clients")
    waitFor(browser, "return document.querySelector('#list_clients output').textContent.startsWith('401')")
    browser.execute_script("user.value = 'admin'; secret.value = 'public'")
    browser.execute_script("document.querySelector('#list_clients [name=_limit]').value = '<b>'")
    send(browser, "list_clients")
    waitFor(browser, "return document.querySelector('#list_clients output').textContent.startsWith('400')")
    assert "_limit" in browser.execute_script("return document.querySelector('#list_clients .answer').textContent")
    assert browser.execute_script("return document.querySelectorAll('.answer *').length") == 0
    browser.execute_script("document.querySelector('#list_clients [name=_limit]').value = '5'")
    send(browser, "list_clients")
    waitFor(browser, "return document.querySelector('#list_clients output').textContent.startsWith('200')")

    browser.execute_script("document.querySelector('#events').open = true")
    waitFor(browser, "return document.querySelector('#events form') !== null")
    send(browser, "events")
    waitFor(browser, "return document.querySelector('#events .answer').textContent.includes('welcome')")
    browser.execute_script("document.querySelector('#events button[type=button]').click()")
    waitFor(browser, "return document.querySelector('#events output').textContent.includes('stopped')")

    browser.execute_script("document.getElementById('find').value = 'banned post'")
    browser.execute_script("document.getElementById('find').dispatchEvent(new Event('input'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([hidden])').length") == 1
    # What Chromium says of refused calls is no fault of the page's.
    faults = [entry for entry in browser.get_log("browser") if "Failed to load resource" not in entry["message"]]
    assert faults == []


def send(browser: Any, name: str) -> None:
    """
    Make the call that is shown.
    """
    browser.execute_script(f"document.querySelector('#{name} .send').click()")


def waitFor(browser: Any, script: str) -> None:
    """
    Wait until a script returns true.
    """
    waiting.WebDriverWait(browser, 30, 0.05).until(lambda found: found.execute_script(script))
