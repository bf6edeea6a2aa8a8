"""What the documentation says is true: its recipes load, its Python runs, its commands parse, its tables hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import datasets
import pytest

from embertune.data.roles import ALIASES
from embertune.model.find import Located
from embertune.recipe import load_recipe
from embertune.reference import to_advice, to_markdown, to_rules, to_space
from tests import tiny

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: All pages but the laboratory's diary, which may quote what no longer holds.
PAGES = {
    page.name: page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
    if page.name != "lab.md"
}
GUIDE = PAGES["guide.md"]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(language: str, *pages: str) -> list[Any]:
    """The fenced blocks of a language, each named by its page and line."""
    found = []
    for name in pages or PAGES:
        for match in _BLOCK.finditer(PAGES[name]):
            if match[1] == language:
                line = PAGES[name][: match.start()].count("\n") + 1
                found.append(pytest.param(match[2], id=f"{name}:{line}"))
    return found


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next of its rank."""
    rest = page.split(f"\n## {heading}\n", 1)[1]
    return rest.split("\n## ", 1)[0]


def table(text: str, head: str) -> dict[str, str]:
    """First column to the rest of its line, of the table whose head begins so."""
    lines = text.split(f"\n| {head} ", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first.strip("` "): " | ".join(rest) for first, *rest in cells}


def anchor(heading: str) -> str:
    """A heading as links name it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def source() -> str:
    """All code of the package, its string literals joined as Python joins them."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_recipe_in_the_documentation_loads(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_recipe(path).data.train is not None


@pytest.mark.parametrize("text", [*blocks("sh"), *blocks("shell")])
def test_commands_in_the_documentation_parse(text: str) -> None:
    from embertune.cli import parser

    for words in (shlex.split(line, comments=True) for line in text.splitlines()):
        if words and words[0] == "embertune":
            assert parser().parse_args(words[1:])


@pytest.fixture
def _workplace(tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with rows, where every model's name stands for a tiny one."""
    rows = [{"question": row["anchor"], "answer": row["positive"]} for row in tiny.toy_pairs(60)]
    tiny.write_jsonl(tmp_path / "faq.jsonl", rows)
    files = tuple(p.relative_to(tiny_model_path).as_posix() for p in tiny_model_path.rglob("*") if p.is_file())
    monkeypatch.setattr("embertune.model.build.locate", lambda name: Located(tiny_model_path, name, files))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_workplace")
@pytest.mark.parametrize("page", [name for name in PAGES if blocks("python", name)])
def test_the_python_of_a_page_runs_from_top_to_bottom(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python", page):
        exec(compile(block.values[0], block.id, "exec"), names)
    if page == "guide.md":
        assert names["vectors"].shape == (1, 32)
        assert "did you mean 'epochs'" in capsys.readouterr().out


@pytest.mark.parametrize("name", PAGES)
def test_links_within_the_documentation_lead_somewhere(name: str) -> None:
    here = ROOT if name == "README.md" else DOCS
    for target in _LINK.findall(PAGES[name]):
        if "://" in target:
            continue
        file, _, fragment = target.partition("#")
        path = (here / file).resolve() if file else (here / name).resolve()
        assert path.exists(), f"{name}: {target}"
        if fragment:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), f"{name}: {target}"


def test_the_recipe_reference_is_that_of_the_code() -> None:
    regenerate = "docs/recipe.md is out of date; run `python -m embertune.reference > docs/recipe.md`"
    assert PAGES["recipe.md"] == to_markdown(), regenerate


def test_the_decision_table_of_the_guide_is_that_of_the_code() -> None:
    assert section(GUIDE, "What auto decides").endswith(f"\n\n{to_rules()}")


def test_the_ready_space_of_the_guide_is_that_of_the_code() -> None:
    assert section(GUIDE, "What a search varies").endswith(f"\n\n{to_space()}")


def test_the_table_of_advice_of_the_guide_is_that_of_the_code() -> None:
    assert section(GUIDE, "What to try next").endswith(f"\n\n{to_advice()}")


def test_the_reference_has_every_leaf_and_every_loss() -> None:
    from embertune.recipe.check import known_paths
    from embertune.recipe.losses import LOSSES

    text = to_markdown()
    assert [name for name in (*known_paths(), *LOSSES) if f"| `{name}` |" not in text] == []


def test_the_reference_finds_where_a_rule_begins_to_hold() -> None:
    from embertune.reference import _runs

    edges: Mapping[int, str] = {0: "few", 1_000: "some", 20_001: "many"}
    found = list(_runs(lambda n: [word for edge, word in edges.items() if n >= edge][-1], 2, 1_000_000))
    assert found == [(2, 999, "few"), (1_000, 20_000, "some"), (20_001, 1_000_000, "many")]


def test_the_alias_table_is_that_of_the_code() -> None:
    expected = {role: ", ".join(f"`{name}`" for name in names) + " " for role, names in ALIASES.items()}
    shown = table(section(GUIDE, "Shapes and columns"), "role | names")
    lines = "".join(f"| {role} | {names}|\n" for role, names in expected.items())
    assert {role: names.strip(" |") for role, names in shown.items()} == {r: n.strip() for r, n in expected.items()}, (
        f"the table in docs/guide.md should be\n{lines}"
    )


def test_every_shape_is_explained() -> None:
    from embertune.recipe.sections import Shape

    assert set(table(section(GUIDE, "Shapes and columns"), "shape |")) == set(get_args(Shape))


def test_every_verdict_is_explained() -> None:
    from embertune.evaluate.proof import Verdict

    assert set(table(section(GUIDE, "Reading the result"), "verdict |")) == set(get_args(Verdict))


def test_headlines_are_those_of_the_code() -> None:
    from embertune.evaluate.metrics import EVALUATORS

    shown = table(section(GUIDE, "Reading the result"), "shape of the test set |")
    expected = {s: f"`{row.headline.format(similarity='cosine')}`: {row.measures}" for s, row in EVALUATORS.items()}
    assert {shape: text.strip(" |") for shape, text in shown.items()} == expected


@pytest.mark.parametrize("message", table(section(GUIDE, "When something is wrong"), "message |"))
def test_a_message_that_the_guide_explains_is_one_that_the_code_gives(message: str) -> None:
    assert message in re.sub(r'"\s*\n\s*f?"', "", source())


def test_files_of_the_run_folder_are_those_of_the_code() -> None:
    from embertune import rundir

    names = (rundir.RECIPE, rundir.MANIFEST, rundir.AUDIT, rundir.HISTORY, rundir.METRICS)
    names += (rundir.MODEL, rundir.REPORT_HTML, rundir.REPORT_MD)
    for page in ("guide.md", "how-it-works.md"):
        assert [name for name in names if f"`{name}" not in PAGES[page]] == []
