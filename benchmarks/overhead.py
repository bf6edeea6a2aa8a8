"""What `embertune.run` costs over a script by hand: same model, rows, batches, optimizer, steps and evaluation.

    python benchmarks/overhead.py [rounds]

Both read the sample's files, load the model, measure the test set, train with dev measured on the way, measure the
test set again and save. embertune also fingerprints the data, computes intervals and writes its report. The two take
turns in one process; medians, their ratio and the machine go to benchmarks/results/overhead.json. Seconds are those of
the clock and those of the processor, which a busy machine disturbs less.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import PrinterCallback

import embertune
from embertune.caches import placed
from embertune.manifest import hardware, versions
from embertune.recipe import load_recipe
from embertune.run import run
from table.models import minilm_folder
from table.sides import DECAY, RATE, SEED, silent_arguments

SAMPLE = Path(embertune.__file__).parent / "sample" / "help"
RESULT = Path(__file__).parent / "results" / "overhead.json"
STEPS, EVERY, BATCH, TOKENS, WARMUP = 20, 10, 16, 32, 0.1
ROUNDS = 3

#: Does the work with a model, in a folder, in so many steps; gives nDCG@10 on test afterwards.
Work = Callable[[str, Path, int], float]


@dataclass(frozen=True)
class Took:
    """Seconds of a whole run by the clock and by the processor, and what the test set says afterwards."""

    clock: float
    processor: float
    ndcg: float


def with_embertune(model: str, out: Path, steps: int) -> float:
    """One call of `run`."""
    settings = {
        "model.name": model,
        "model.max_length": TOKENS,
        "data.train": f"{SAMPLE}@train",
        "data.dev": f"{SAMPLE}@dev",
        "data.test": f"{SAMPLE}@test-wordings",
        "train.max_steps": steps,
        "train.batch_size": BATCH,
        "train.learning_rate": RATE,
        "train.weight_decay": DECAY,
        "train.warmup": WARMUP,
        "guard.eval_every": f"{EVERY} steps",
        "guard.patience": None,
        "evaluate.similarity": ["cosine"],
        "seed": SEED,
    }
    result = run(load_recipe(set=settings), out)
    if result.chosen != "tuned":
        raise SystemExit("the base was chosen, so the test set was measured once only: not the same work")
    return result.tuned[result.primary or ""]


def by_hand(model: str, out: Path, steps: int) -> float:
    """What a careful user writes for the same work."""
    corpus = {row["_id"]: f"{row['title']} {row['text']}" for row in lines(SAMPLE / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in lines(SAMPLE / "queries.jsonl")}
    judged = {split: relevant(split) for split in ("train", "dev", "test-wordings")}
    pairs = [{"anchor": queries[q], "positive": corpus[d]} for q, found in judged["train"].items() for d in found]
    dev, test = (searched(split, corpus, queries, judged[split]) for split in ("dev", "test-wordings"))

    encoder = SentenceTransformer(model)
    encoder.max_seq_length = TOKENS
    test(encoder)
    arguments = silent_arguments(
        str(out / "checkpoints"),
        steps,
        BATCH,
        warmup_steps=round(WARMUP * steps),
        batch_sampler="no_duplicates",
        eval_strategy="steps",
        eval_steps=EVERY,
        eval_on_start=True,
    )
    trainer = SentenceTransformerTrainer(
        model=encoder,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(pairs),
        loss=MultipleNegativesRankingLoss(encoder),
        evaluator=dev,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    after = test(encoder)
    encoder.save(str(out / "model"))
    return float(after["test-wordings_cosine_ndcg@10"])


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def relevant(split: str) -> dict[str, set[str]]:
    judged: dict[str, set[str]] = {}
    for line in (SAMPLE / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, _ = line.split("\t")
        judged.setdefault(query, set()).add(document)
    return judged


def searched(split: str, corpus: Any, queries: Any, judged: Any) -> InformationRetrievalEvaluator:
    asked = {query: queries[query] for query in judged}
    return InformationRetrievalEvaluator(asked, corpus, judged, name=split, batch_size=64, write_csv=False)


def timed(work: Work, model: str, steps: int) -> Took:
    """One run in a fresh folder, with fresh caches."""
    gc.collect()
    with tempfile.TemporaryDirectory() as folder, placed(f"{folder}/embertune"):
        datasets.config.HF_DATASETS_CACHE = f"{folder}/cache"
        clock, processor = time.perf_counter(), time.process_time()
        ndcg = work(model, Path(folder) / "run", steps)
        took = Took(time.perf_counter() - clock, time.process_time() - processor, ndcg)
        gc.collect()
    return took


def summary(took: dict[str, list[Took]], part: str) -> dict[str, Any]:
    """Seconds of every round, medians, and ratios."""
    seconds = {name: [round(getattr(one, part), 2) for one in runs] for name, runs in took.items()}
    middle = {name: median(values) for name, values in seconds.items()}
    rounds = [ours / theirs for ours, theirs in zip(seconds["embertune"], seconds["by hand"], strict=True)]
    return {
        "seconds": seconds,
        "median": middle,
        "ratio of medians": round(middle["embertune"] / middle["by hand"], 4),
        "ratio by round": [round(ratio, 4) for ratio in rounds],
    }


def main(rounds: int) -> None:
    model = str(minilm_folder())
    ways: dict[str, Work] = {"embertune": with_embertune, "by hand": by_hand}
    timed(by_hand, model, 2)  # libraries are loaded and memory is claimed before anything is timed
    load = os.getloadavg()[0]
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, work in ways.items():
            one = timed(work, model, STEPS)
            took[name].append(one)
            print(f"round {number + 1}  {name:<10}{one.clock:8.2f} s, processor{one.processor:8.2f} s", flush=True)
        keep(took, load)
    ratios = [summary(took, part)["ratio of medians"] for part in ("clock", "processor")]
    print("embertune over by hand: {:.3f} by the clock, {:.3f} by the processor".format(*ratios))


def keep(took: dict[str, list[Took]], load: float) -> None:
    """Write what is known so far; `load` is the machine's before the first round."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = len((SAMPLE / "qrels" / "train.tsv").read_text(encoding="utf-8").splitlines()) - 1
    record = {
        "what": "embertune.run against a script by hand: all-MiniLM-L6-v2, the sample's retrieval rows",
        "settings": {"rows": rows, "batch size": BATCH, "tokens": TOKENS, "steps": STEPS, "dev every": EVERY},
        "clock": summary(took, "clock"),
        "processor": summary(took, "processor"),
        "test nDCG@10 afterwards": {name: [round(one.ndcg, 4) for one in runs] for name, runs in took.items()},
        "load of the machine": {"before": round(load, 2), "after": round(os.getloadavg()[0], 2)},
        "machine": hardware(device, torch.get_num_threads()),
        "versions": versions(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
