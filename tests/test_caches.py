"""The cache: where it lies, what it holds, what it may take, and that nothing in use is ever removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embertune import caches
from embertune.caches import Swept, clear, entries, keep, parse_size, placed, root, take, trim
from embertune.engine.published import publish
from embertune.errors import CacheError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(caches.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


def filled(kind: str, key: str, size: int = 1000, used: float | None = None) -> Path:
    """An entry of some bytes that nobody uses, last used at a time (seconds since 1970)."""
    held = take(kind, key, f"about {key}")
    (held.path / "data").write_bytes(b"x" * size)
    held.release()
    if used is not None:
        os.utime(held.path / "lock", (used, used))
    return held.path


def test_the_folder_is_the_one_named_or_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert root() == tmp_path / "cache"
    with placed(str(tmp_path / "other"), "5 GB"):
        assert (root(), caches.limit()) == (tmp_path / "other", 5 * 10**9)
    assert (root(), caches.limit()) == (tmp_path / "cache", caches.DEFAULT_SIZE)
    monkeypatch.delenv(caches.FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert root() == tmp_path / "xdg" / "embertune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert root() == tmp_path / "home" / ".cache" / "embertune"


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("7", 7), ("20 GB", 20 * 10**9), ("1.5 GiB", 3 * 2**29), (" 500mb ", 5 * 10**8)]
)
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "GB", "-1 GB", "5 parsecs", "1 2 GB"])
def test_what_is_no_size_is_refused_and_the_place_is_put_back(text: str) -> None:
    with pytest.raises(CacheError, match="no size"):
        parse_size(text)
    with pytest.raises(CacheError), placed(size=text or "?"):
        pass
    assert caches.SIZE not in os.environ


def test_entries_tell_what_they_are_about_how_large_they_are_and_when_they_were_used() -> None:
    filled("tables", "old", 100, used=1e9)
    filled("tokens", "new", 2000)
    held = take("tokens", "busy", "about busy")
    (held.path / "data").write_bytes(b"x" * 5)
    found = {entry.path.name: entry for entry in entries()}
    assert [entry.path.name for entry in entries()][-1] == "old"
    assert (found["old"].kind, found["old"].about, found["old"].used) == ("tables", "about old", 1e9)
    assert abs(found["new"].used - time.time()) < 60
    assert 2000 <= found["new"].size < 2100
    assert [name for name, entry in found.items() if entry.in_use] == ["busy"]
    assert [entry.path.name for entry in entries("tables")] == ["old"]
    held.release()


def test_an_empty_cache_holds_nothing_and_listing_makes_no_folder(cache: Path) -> None:
    assert entries() == []
    assert clear() == trim() == Swept()
    assert not cache.exists()


def test_clearing_removes_one_kind_or_all_but_what_is_in_use() -> None:
    filled("tables", "a")
    filled("tokens", "b")
    held = take("tokens", "c", "in use")
    assert clear("tables").entries == 1
    assert {entry.path.name for entry in entries()} == {"b", "c"}
    assert clear() == Swept(1, 1000 + len('{"about": "about b"}'), 1)
    held.release()
    assert clear().entries == 1
    assert entries() == []


def test_what_was_not_used_for_longest_goes_first_and_only_until_the_rest_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(("newest", "newer", "older", "oldest")):
        filled("tables", name, 1000, used=1e9 - age)
    monkeypatch.setenv(caches.SIZE, "2.5 KB")
    assert trim().entries == 2
    assert {entry.path.name for entry in entries()} == {"newest", "newer"}
    assert trim() == Swept()


def test_what_is_in_use_stays_even_if_it_alone_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(caches.SIZE, "1 KB")
    held = take("tokens", "large", "in use")
    (held.path / "data").write_bytes(b"x" * 5000)
    filled("tables", "small", 10)
    swept = trim()
    assert (swept.entries, swept.in_use) == (1, 1)
    assert [entry.path.name for entry in entries()] == ["large"]
    held.release()
    assert trim().entries == 1


def test_using_an_entry_again_makes_it_the_last_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    filled("tables", "a", used=1e9)
    filled("tables", "b", used=1.5e9)
    take("tables", "a", "again").release()
    monkeypatch.setenv(caches.SIZE, "1.5 KB")
    assert trim().entries == 1
    assert [entry.path.name for entry in entries()] == ["a"]


_USING = """
import sys
from embertune import caches
caches.keep("tokens", "shared", "used by another process")
print("ready", flush=True)
sys.stdin.readline()
"""


def test_what_another_process_uses_stays_until_that_process_ends_even_by_a_kill() -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _USING], text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        assert clear() == Swept(0, 0, 1)
        process.kill()
    assert clear().entries == 1


def test_a_folder_that_is_removed_and_taken_again_is_whole() -> None:
    first = filled("tables", "a")
    clear()
    held = take("tables", "a", "again")
    assert held.path == first
    assert entries()[0].about == "again"
    assert entries()[0].in_use
    held.release()


def test_what_is_kept_counts_as_in_use_in_this_process_and_only_the_latest_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caches, "_KEPT", 2)
    monkeypatch.setattr(caches, "_held", {})
    for name in "abca":
        keep("tables", name, name)
    assert {entry.path.name for entry in entries() if entry.in_use} == {"a", "c"}
    for held in caches._held.values():
        held.release()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_only_be_read_serves_what_it_holds(cache: Path) -> None:
    path = filled("tables", "a")
    for folder in (path, path.parent, cache):
        folder.chmod(0o500)
    try:
        assert take("tables", "a", "a").path == path
        with pytest.raises(OSError, match="denied"):
            take("tables", "b", "b")
        assert clear().in_use == 1
    finally:
        for folder in (cache, path.parent, path):
            folder.chmod(0o700)


def test_a_cache_that_cannot_be_made_is_an_error_of_the_system(cache: Path) -> None:
    cache.write_text("a file in the way")
    with pytest.raises(OSError, match="cache"):
        take("tokens", "a", "a")
    assert entries() == []


def test_what_fails_while_it_is_written_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        publish(tmp_path / "a", lambda file: file.write(b"half") / 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_a_killed_process_left_of_a_removal_is_removed(cache: Path) -> None:
    filled("tables", "a")
    (cache / "tables" / "a").rename(cache / "tables" / ".gone-1")
    assert entries() == []
    trim()
    assert list((cache / "tables").iterdir()) == []


def test_another_users_processes_cannot_look_into_the_cache(cache: Path) -> None:
    filled("tokens", "a")
    assert cache.stat().st_mode & 0o077 == 0
