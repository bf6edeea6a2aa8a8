"""A real browser opens report.html: every section is there, nothing is complained about, and data stays text."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from embertune.report import Facts, to_html
from tests.report import made
from tests.report.test_html import SECTIONS

_FOUND = shutil.which("chromium")
pytestmark = pytest.mark.skipif(_FOUND is None, reason="no chromium on PATH")
_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
]


def _opened(facts: Facts, folder: Path) -> tuple[str, str]:
    """The page as the browser has it after loading, and what the browser said of it."""
    page = folder / "report.html"
    page.write_text(to_html(facts), encoding="utf-8")
    command = [_FOUND or "", *_QUIET, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


@pytest.mark.parametrize("facts", [made.guarded(), made.hostile(True)], ids=["guarded", "hostile"])
def test_a_browser_shows_every_section_and_complains_about_nothing(facts: Facts, tmp_path: Path) -> None:
    dom, console = _opened(facts, tmp_path)
    assert [name for name in SECTIONS if f'id="{name}"' not in dom] == []
    assert console == ""
    assert "<script" not in dom
    assert "<img" not in dom
