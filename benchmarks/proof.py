"""What evaluation and proof cost: two models on SciFact against the host's evaluator run twice; the bootstrap alone.

    python benchmarks/proof.py [--rounds 3] [--documents 600]

`scifact/` lies in $EMBERTUNE_DATA (default ../shared/data from the project root): 300 test queries, 5,183 documents;
with --documents the queries of the first so many, and a record of its own. The base is all-MiniLM-L6-v2, the tuned
model the same with a little noise on its weights: nothing is trained, and the proof has differences to work on.
Embertune tokenises and encodes for both, works out all metrics per query, and proves them with 10,000 resamples. The
other side is the host's InformationRetrievalEvaluator as it comes, once for each model, which gives values only. Both
measure cosine, in float32; embertune also all four similarities. The sides take turns in one process; no token or
vector is there beforehand. Loading is not counted. Seconds are those of the clock and of the processor, which a busy
machine disturbs less; medians and ratios go to benchmarks/results/proof.json.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from embertune.data.prepare import prepare
from embertune.evaluate.bootstrap import paired
from embertune.evaluate.proof import Proof, prove
from embertune.evaluate.resampling import bootstrap
from embertune.evaluate.scene import Scene, arrange, measure
from embertune.evaluate.score import Scores
from embertune.evaluate.similarity import SIMILARITIES, SimilarityName
from embertune.evaluate.statistic import mean_of
from embertune.model.build import adopt
from embertune.model.encode import make_encode
from embertune.model.load import on_fastest_path
from embertune.model.tokens import open_tokens
from embertune.recipe import load_recipe
from embertune.tokenise import evaluated_texts, tokenise
from embertune.watch import Silent
from table.machine import fingerprint, precisions
from table.models import minilm
from table.sides import workplace

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data")) / "scifact"
RESULT = Path(__file__).parent / "results" / "proof.json"
ITEMS, RESAMPLES, NOISE = 100_000, 10_000, 0.02
METRIC = "cosine_ndcg@10"


@dataclass
class Took:
    """Seconds of every round, of the clock and of the processor."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def of(self, work: Callable[[], Any]) -> Any:
        """One round."""
        gc.collect()
        clock, processor = time.perf_counter(), time.process_time()
        found = work()
        self.clock.append(time.perf_counter() - clock)
        self.processor.append(time.process_time() - processor)
        return found

    def record(self) -> dict[str, Any]:
        """Every round, and the medians."""
        seconds = {"clock": self.clock, "processor": self.processor}
        return {
            name: {"rounds": rounded(values), "median": round(median(values), 2)} for name, values in seconds.items()
        }


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]


def tuned() -> SentenceTransformer:
    """The base with noise of a fiftieth of each tensor's deviation."""
    model, chance = minilm(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=chance).to(parameter.device)
            parameter.add_(NOISE * parameter.std(correction=0) * noise)
    return model


def part_of_scifact(folder: Path, documents: int | None) -> None:
    """Write the test split to a folder: whole, or the first so many documents and the queries they answer."""
    corpus = [json.loads(line) for line in (DATA / "corpus.jsonl").read_text(encoding="utf-8").splitlines()][:documents]
    queries = [json.loads(line) for line in (DATA / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    known = {row["_id"] for row in corpus}
    with (DATA / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    whole = {row["query-id"] for row in rows} - {row["query-id"] for row in rows if row["corpus-id"] not in known}
    kept = [row for row in rows if row["query-id"] in whole]
    (folder / "qrels").mkdir()
    for name, some in (("corpus", corpus), ("queries", [row for row in queries if row["_id"] in whole])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(row.values()) for row in kept)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def scene_of(folder: Path, similarities: Sequence[SimilarityName]) -> Scene:
    """The test set as a run arranges it."""
    set_ = f"{folder}@test"
    recipe = load_recipe(set={"data.train": set_, "data.test": set_, "data.dev": "none", "data.leaks": "keep"})
    return arrange(prepare(recipe).sides, similarities)


def with_embertune(models: Sequence[SentenceTransformer], scene: Scene) -> Callable[[], Proof]:
    """Measure both models, and prove."""
    built = [on_fastest_path(adopt(model), load_recipe()) for model in models]

    def work() -> Proof:
        with workplace():
            scores: list[tuple[Scores, ...]] = []
            for one in built:
                tokens = open_tokens(one.model)
                tokenise(tokens, evaluated_texts(scene, one.role_prompts), Silent())
                scores.append(measure(make_encode(one.model, one.role_prompts, tokens=tokens), scene))
            return prove(scores[0], scores[1], None, seed=0)

    return work


def with_host(models: Sequence[SentenceTransformer], folder: Path) -> Callable[[], list[Mapping[str, float]]]:
    """The host's evaluator as it comes, for each model."""
    corpus, queries = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("corpus", "queries")
    )
    judged: dict[str, set[str]] = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            judged.setdefault(row["query-id"], set()).add(row["corpus-id"])
    evaluator = InformationRetrievalEvaluator(
        {row["_id"]: row["text"] for row in queries},
        {row["_id"]: f"{row['title']} {row['text']}" for row in corpus},
        judged,
        name="scifact-test",
        write_csv=False,
    )
    return lambda: [evaluator(model) for model in models]


def of_scifact(rounds: int, documents: int | None) -> dict[str, Any]:
    """Both sides in turns."""
    with tempfile.TemporaryDirectory() as name, workplace():
        folder = Path(name) / "scifact"
        folder.mkdir()
        part_of_scifact(folder, documents)
        cosine, four = scene_of(folder, ("cosine",)), scene_of(folder, SIMILARITIES)
        host = with_host([minilm(), tuned()], folder)
        ways = {"host, twice": host, "embertune": with_embertune([minilm(), tuned()], cosine)}
        ways["embertune, four similarities"] = with_embertune([minilm(), tuned()], four)
        took = {way: Took() for way in ways}
        found: dict[str, Any] = {}
        for number in range(rounds):
            for way, work in ways.items():
                found[way] = took[way].of(work)
                clock, processor = took[way].clock[-1], took[way].processor[-1]
                print(f"round {number + 1}  {way:<30}{clock:8.1f} s, processor {processor:.1f} s", flush=True)
    values = {way: ndcg(one) for way, one in found.items()}
    return {
        "settings": {"documents": len(cosine.tests[0].texts["positive"]), "queries": len(cosine.tests[0])},
        "seconds": {way: one.record() for way, one in took.items()},
        "times as fast as the host": {way: times(took["host, twice"], one) for way, one in took.items()},
        f"{METRIC} of base and tuned": values,
        "change": change_of(found["embertune"]),
        "bfloat16": "measured by nothing here: test is measured in float32 always"
        if "bfloat16" in precisions()
        else "not measured: its products are slower than those of float32 on this machine",
    }


def ndcg(found: Any) -> list[float]:
    """The headline of both models."""
    sides = [found.baseline, found.tuned] if isinstance(found, Proof) else found
    return [round(next(value for name, value in one.items() if name.endswith(METRIC)), 5) for one in sides]


def change_of(proof: Proof) -> dict[str, float]:
    assert proof.primary is not None
    change = proof.change[proof.primary]
    return {"difference": change.difference, "low": change.low, "high": change.high, "p": change.p_value}


def times(host: Took, ours: Took) -> dict[str, Any]:
    """Ratios round by round, and of the medians."""
    pairs = {"clock": (host.clock, ours.clock), "processor": (host.processor, ours.processor)}
    return {
        name: {
            "rounds": rounded([a / b for a, b in zip(*sides, strict=True)]),
            "medians": round(median(sides[0]) / median(sides[1]), 2),
        }
        for name, sides in pairs.items()
    }


def of_bootstrap(rounds: int) -> dict[str, Any]:
    """The mean of many items, resampled; and all that `paired` does with two models: exchange test and interval too."""
    chance = np.random.default_rng(0)
    groups, items = np.arange(ITEMS), chance.random(ITEMS)
    scores = [
        Scores("m", "triplets", {"m_x": float(one.mean())}, {"m_x": one}, {}, groups, {}, "m_x")
        for one in (items, items + 0.01 * chance.standard_normal(ITEMS))
    ]
    took = {"bootstrap": Took(), "bootstrap and exchange test": Took()}
    for _ in range(rounds):
        took["bootstrap"].of(lambda: bootstrap([mean_of(items)], groups, RESAMPLES, 0))
        took["bootstrap and exchange test"].of(lambda: paired(*scores, "m_x", 0, RESAMPLES))
    return {
        "settings": {"items": ITEMS, "resamples": RESAMPLES},
        "asked": "under 5 s",
        "seconds": {way: one.record() for way, one in took.items()},
    }


def main(rounds: int, documents: int | None) -> None:
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there")
        return
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"  # read when a bar begins
    drawn = of_bootstrap(max(rounds, 3))
    print(json.dumps(drawn["seconds"]), flush=True)
    found = of_scifact(rounds, documents)
    record = {"bootstrap of a mean": drawn, "scifact": found, **fingerprint()}
    print(json.dumps(found, indent=1))
    result = RESULT if documents is None else RESULT.with_name(f"proof-{documents}.json")
    result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--documents", type=int, help="the first so many documents")
    options = asked.parse_args()
    main(options.rounds, options.documents)
