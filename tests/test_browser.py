"""When tests may install Chromium, and what they report if there is none. apt-get is a stand-in here."""

import os
from pathlib import Path

import pytest

from tests.helpers import browser


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(apt_get, user)`: a machine without Chromium whose apt-get is a script. Returns `browser.provide`."""

    def make(apt_get: str | None, user: int = 0):
        if apt_get is not None:
            script = tmp_path / "apt-get"
            script.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/asked\n{apt_get}\n")
            script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}")
        monkeypatch.setattr(os, "geteuid", lambda: user)
        return browser.provide.__wrapped__

    return make


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_chromium_is_installed_only_on_request(machine, tmp_path, monkeypatch):
    monkeypatch.delenv(browser.INSTALL, raising=False)
    path, why_not = machine("exit 0")()
    assert path is None and f"{browser.INSTALL}=1" in why_not and asked(tmp_path) == []


@pytest.mark.parametrize(("apt_get", "user"), [(None, 0), ("exit 0", 1000)])
def test_install_is_not_tried_without_root_or_apt_get(machine, tmp_path, monkeypatch, apt_get, user):
    monkeypatch.setenv(browser.INSTALL, "1")
    path, why_not = machine(apt_get, user)()
    assert path is None and "needs root and apt-get" in why_not and asked(tmp_path) == []


def test_error_of_apt_get_is_the_reason_given(machine, tmp_path, monkeypatch):
    monkeypatch.setenv(browser.INSTALL, "1")
    path, why_not = machine("echo 'E: no such mirror' >&2; exit 100")()
    assert path is None and why_not.endswith("did not install it: E: no such mirror")
    assert asked(tmp_path) == ["--quiet update"]


def test_slow_install_times_out(machine, monkeypatch):
    monkeypatch.setenv(browser.INSTALL, "1")
    monkeypatch.setattr(browser, "INSTALL_PATIENCE_S", 0)
    _, why_not = machine("while :; do :; done")()
    assert "not done after 0 s" in why_not


def test_installed_chromium_is_found(machine, tmp_path, monkeypatch):
    monkeypatch.setenv(browser.INSTALL, "1")
    made = tmp_path / "chromium"
    path, why_not = machine(f"echo > {made}; /bin/chmod 755 {made}")()
    assert (path, why_not) == (str(made), "")
    assert len(asked(tmp_path)) == 2


def test_chromium_that_shows_no_page_skips_the_test(machine, tmp_path, monkeypatch):
    made = tmp_path / "chromium"
    made.write_text("#!/bin/sh\necho '# Fatal error: no memory' >&2\nexec cat <&3 >/dev/null\n")
    made.chmod(0o755)
    monkeypatch.setattr(browser, "provide", lambda: (str(made), ""))
    monkeypatch.setattr(browser, "START_PATIENCE_S", 0.2)
    with pytest.raises(pytest.skip.Exception) as skipped:
        browser.start(tmp_path)
    assert "does not show an empty page: Chromium said nothing for 0.2 s; Fatal error: no memory" in str(skipped.value)
