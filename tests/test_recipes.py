"""Every shipped recipe parses, gives its reasons, and runs for two steps on a tiny model and data of its layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict, load_dataset

import embertune
from embertune.data import hub
from embertune.recipe import Recipe, load_recipe, replace
from tests import tiny

ROOT = Path(__file__).parents[1]
RECIPES = {path.stem: path for path in sorted((ROOT / "recipes").glob("*.yaml"))}
ALL_NLI = "sentence-transformers/all-nli"

#: A leaf on a line of its own, and one with its reason behind it.
LEAF = re.compile(r"^\s*[\w-]+:\s+\S")
REASONED = re.compile(r"^\s*[\w-]+:\s+[^#]*\S\s+#\s+\S")

Rows = tiny.Rows


def renamed(rows: Rows, **names: str) -> Rows:
    """Rows with their columns under other names (old=new)."""
    return [{names.get(column, column): value for column, value in row.items()} for row in rows]


def all_nli(here: Path) -> None:
    """A folder laid out like the Hub repository: a configuration `triplet`, its splits as parquet."""
    folder = here / "hub" / ALL_NLI
    card = ["---", "configs:", "- config_name: triplet", "  data_files:"]
    for number, split in enumerate(("train", "dev", "test")):
        card += [f"  - split: {split}", f"    path: triplet/{split}-*"]
        path = folder / "triplet" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pa.Table.from_pylist(tiny.toy_triplets(40, start=40 * number)), path)
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")


def nli_local(here: Path) -> None:
    for number, split in enumerate(("train", "dev", "test")):
        tiny.write_jsonl(here / "nli" / f"{split}.jsonl", tiny.toy_nli(60, start=60 * number))


def pairs(here: Path) -> None:
    tiny.write_jsonl(here / "faq.jsonl", renamed(tiny.toy_pairs(60), anchor="question", positive="answer"))


def triplets(here: Path) -> None:
    tiny.write_jsonl(here / "triplets.jsonl", renamed(tiny.toy_triplets(60), anchor="query"))


def scored(here: Path) -> None:
    for number, split in enumerate(("train", "dev", "test")):
        rows = [row | {"score": 5 * row["score"]} for row in tiny.toy_scored(40, start=40 * number)]
        tiny.write_csv(here / "sts" / f"{split}.csv", rows)


def labelled(here: Path) -> None:
    names = {"sentence1": "question1", "sentence2": "question2", "label": "is_duplicate"}
    tiny.write_csv(here / "duplicates.csv", renamed(tiny.toy_labelled(80), **names))


def classes(here: Path) -> None:
    for split, start in (("train", 0), ("test", 90)):
        rows = renamed(tiny.toy_classes(90 if split == "train" else 30, start=start), label="intent")
        tiny.write_jsonl(here / "intents" / f"{split}.jsonl", rows)


def retrieval(here: Path) -> None:
    tiny.toy_beir(here / "collection")


def help_centre(here: Path) -> None:
    """The sample itself."""
    (here / "src" / "embertune").mkdir(parents=True)
    (here / "src" / "embertune" / "sample").symlink_to(ROOT / "src" / "embertune" / "sample")


#: Recipe -> what lays out data as it expects it, below the working directory.
LAYOUTS: Mapping[str, Callable[[Path], None]] = {
    "all-nli": all_nli,
    "nli-local": nli_local,
    "pairs": pairs,
    "triplets": triplets,
    "scored": scored,
    "labelled": labelled,
    "classes": classes,
    "retrieval": retrieval,
    "help-centre": help_centre,
}
#: Recipe -> the shape its rows are trained in, and the metric its verdict rests on.
OUTCOMES = {
    "all-nli": ("triplets", "all-nli-test_cosine_accuracy"),
    "nli-local": ("nli", "nli-test_cosine_accuracy"),
    "pairs": ("pairs", "faq-test_cosine_accuracy@1"),
    "triplets": ("triplets", "triplets-test_cosine_accuracy"),
    "scored": ("scored", "sts-test_spearman_cosine"),
    "labelled": ("labelled", "duplicates-test_cosine_ap"),
    "classes": ("classes", "intents-test_cosine_accuracy"),
    "retrieval": ("retrieval", "collection-test_cosine_ndcg@10"),
    "help-centre": ("retrieval", "wordings-test_cosine_ndcg@10"),
}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is left in the user's cache of data sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("datasets")))
        yield


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str | None]]:
    """The one way to the Hub's data leads to folders below `hub`; what was asked for is written down."""
    asked: list[tuple[str, str | None, str | None]] = []

    def served(name: str, config: str | None = None, *, split: str | None = None) -> Dataset | DatasetDict:
        asked.append((name, config, split))
        return load_dataset(str(tmp_path / "hub" / name), config, split=split)

    monkeypatch.setattr(hub, "load_dataset", served)
    return asked


def shortened(name: str, model: Path) -> Recipe:
    """A shipped recipe with a tiny model and two steps."""
    return replace(load_recipe(RECIPES[name]), {"model.name": str(model), "train.epochs": None, "train.max_steps": 2})


def test_every_shipped_recipe_is_tested() -> None:
    assert set(RECIPES) == set(LAYOUTS) == set(OUTCOMES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_parses(name: str) -> None:
    assert load_recipe(RECIPES[name]).data.train is not None


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_a_reason_at_every_setting(name: str) -> None:
    lines = RECIPES[name].read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if LEAF.match(line) and not REASONED.match(line)]
    assert bare == []


def test_all_nli_is_the_published_course() -> None:
    recipe = load_recipe(RECIPES["all-nli"])
    assert recipe.model.name == "microsoft/mpnet-base"
    assert recipe.data.train == f"{ALL_NLI}:triplet@train[:100000]"
    assert (recipe.data.dev, recipe.data.test) == (f"{ALL_NLI}:triplet@dev", f"{ALL_NLI}:triplet@test")
    train = recipe.train
    assert (train.loss, train.epochs, train.batch_size) == ("multiple_negatives_ranking", 1, 16)
    assert (train.learning_rate, train.warmup) == (2e-5, 0.1)
    head = RECIPES["all-nli"].read_text(encoding="utf-8").split("model:")[0]
    assert "0.6594" in head
    assert "0.9088" in head


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    local_hub: list[Any],
    tiny_model_path: Path,
    tiny_mpnet_path: Path,
) -> None:
    LAYOUTS[name](tmp_path)
    monkeypatch.chdir(tmp_path)
    recipe = shortened(name, tiny_mpnet_path if name == "all-nli" else tiny_model_path)
    result = embertune.run(recipe, tmp_path / "run")
    shape, primary = OUTCOMES[name]
    assert load_recipe(tmp_path / "run" / "recipe.yaml").data.shape == shape
    assert result.primary == primary
    assert primary in result.change
    assert (result.model / "model.safetensors").is_file()
    assert result.report.is_file()


def test_all_nli_asks_the_hub_for_its_three_splits_and_keeps_the_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_hub: list[Any]
) -> None:
    from embertune.data.prepare import prepare

    all_nli(tmp_path)
    recipe = replace(load_recipe(RECIPES["all-nli"]), {"data.train": f"{ALL_NLI}:triplet@train[:25]"})
    sides = prepare(recipe).sides
    assert local_hub == [(ALL_NLI, "triplet", split) for split in ("train", "dev", "test")]
    assert len(sides.train) == 25
    assert sides.dev is not None
    assert len(sides.dev) == len(sides.tests["all-nli"]) == 40
