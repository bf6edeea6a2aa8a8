"""Facts made by hand: a calm run that people could look at, and a hostile one that tries to break every report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from embertune.choose import Choice
from embertune.data.findings import Finding
from embertune.data.prepared import Note
from embertune.evaluate.bootstrap import Change
from embertune.evaluate.proof import Counts, Proof
from embertune.evaluate.retention import Retained
from embertune.evaluate.seen import Histogram, Moved, Neighbour, Neighbours, Seen, SizePoint
from embertune.recipe.advice import Advice
from embertune.report.facts import Facts, Side

#: What may come in a text of the data. Each holds a word of its own by which it is found in an output.
HOSTILE = {
    "script": "</script><script>alert('wolverine')</script>",
    "markup": "<img src=https://evil.example/x.png onerror=alert(1)> & \"walrus\" 'quoted'",
    "pipes": "a | b || `capybara` ``` ~~~ | [link](https://evil.example)\n# heading\n| - | - |",
    "template": "{{ 7 * 7 }} {% raw %} narwhal {{ facts }}",
    "rtl": "\u202eokapi\u202c \u2067مرحبا بالعالم\u2069 \u200fשלום",
    "controls": "nul \x00 bell \x07 escape \x1b[31m pangolin \ud800 \u2028 end",
    "long": "axolotl " * 1250,
}
WORDS = ("wolverine", "walrus", "capybara", "narwhal", "okapi", "pangolin", "axolotl")


def facts(**changes: Any) -> Facts:
    """A run on triplets and a retrieval set, better, in 300 steps."""
    made = Facts(
        title="help-centre",
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        recipe_yaml="model:\n  name: sentence-transformers/all-MiniLM-L6-v2 # as given\nseed: 0\n",
        proof=proof(),
        choice=Choice("tuned", "best cosine_accuracy@1 on dev, at step 210 of 300"),
        steps=300,
        best_step=210,
        stopped="no improvement on dev for 3 evaluations; best at step 210",
        sides=sides(),
        rows=[
            {"anchor": f"How do I reset code {n}?", "positive": f"Open the panel and hold key {n}."} for n in range(3)
        ],
        notes=notes(),
        history=history(300, 30),
        timing={"load": 3.2, "baseline": 14.0, "train": 200.4, "measure": 13.8},
        environment={"python": "3.11.9", "torch": "2.13.0", "device": "CPU, 2 threads"},
        model_path=Path("runs/help/model"),
        examples=True,
        metric="cosine_accuracy@1",
        findings=findings(),
        seen=seen(),
    )
    return replace(made, **changes)


def sides() -> list[Side]:
    """One train and dev side, and two test sets."""
    return [
        Side("train", "help", "pairs", 1840),
        Side("dev", "help-dev", "pairs", 260),
        Side("test", "help-test", "pairs", 168),
        Side("test", "nli-test", "triplets", 1200),
    ]


def notes() -> list[Note]:
    """Notes of three kinds: removed rows with examples, a count without examples, a remark."""
    return [
        Note(
            "audit", "rows of train that share an anchor with test were left out", 12, ("How do I reset it?", "Where?")
        ),
        Note("shapes", "rows without a gold label were left out", 3104),
        Note("split", "dev and test are held out by answer"),
    ]


def findings() -> list[Finding]:
    """A finding that was acted on, one with examples, one that only describes."""
    return [
        Finding(
            "leak", "train | test help", "anchors of test help that stand in train", 12, 168, (), "12 rows dropped"
        ),
        Finding("empty", "train", "texts have no letter and no digit: anchor 2", 2, 3680, ("...", "—")),
        Finding("lengths", "train", "tokens (median / 95 % have at most / longest): anchor 9 / 21 / 60"),
    ]


def proof(**changes: Any) -> Proof:
    """Retrieval metrics under two similarities for one set, accuracies with one loss and one doubt for the other."""
    baseline: dict[str, float] = {}
    tuned: dict[str, float] = {}
    change: dict[str, Change] = {}
    for name, (before, difference, half) in _metrics().items():
        baseline[name], tuned[name] = before, before + difference
        p_value = 0.0001 if abs(difference) > half else 0.21
        change[name] = Change(difference, difference - half, difference + half, p_value, 10_000)
    baseline["help-test_cosine_f1_threshold"] = tuned["help-test_cosine_f1_threshold"] = 0.5321
    made = Proof(
        baseline=baseline,
        tuned=tuned,
        change=change,
        primary="help-test_cosine_accuracy@1",
        verdict="better",
        sentence="better: of 168 test queries 23 more now find their match first (between 14 and 32)",
        counts=Counts(168, 120, 31, 27, 4, 137),
    )
    return replace(made, **changes)


def retention() -> tuple[Retained, ...]:
    """One set, on which the model lost something."""
    change = Change(-0.1, -0.15, -0.05, 0.001, 10_000)
    return (Retained("general", "general-retention_cosine_accuracy@1", 240, 0.9, 0.8, change),)


def _metrics() -> Mapping[str, tuple[float, float, float]]:
    """Name to baseline, difference, and half the interval."""
    found = {}
    for similarity, less in (("cosine", 0.0), ("euclidean", 0.01)):
        for i, metric in enumerate(("accuracy@1", "accuracy@5", "recall@10", "ndcg@10", "mrr@10")):
            found[f"help-test_{similarity}_{metric}"] = (0.55 + 0.06 * i - less, 0.1369 - 0.02 * i, 0.053)
    found["nli-test_cosine_accuracy"] = (0.9409, 0.0086, 0.0071)
    found["nli-test_dot_accuracy"] = (0.9409, -0.0321, 0.012)
    found["nli-test_manhattan_accuracy"] = (0.9392, 0.0031, 0.0075)
    return found


def history(steps: int, every: int) -> list[dict[str, Any]]:
    """A falling loss with noise and one spike, and a dev metric that rises and then falls a little."""
    records: list[dict[str, Any]] = []
    for step in range(steps + 1):
        if step:
            noise = 0.25 * math.sin(step * 12.9898) * math.sin(step * 78.233)
            loss = 0.35 + 2.1 * math.exp(-step / (0.2 * steps)) + noise + (1.1 if step == steps // 2 else 0.0)
            records.append({"step": step, "epoch": step / steps, "loss": loss, "rates": {"model": 2e-5}})
        if step % every == 0:
            share = step / steps
            value = 0.55 + 0.16 * (1 - math.exp(-4 * share)) - 0.09 * max(0.0, share - 0.7)
            records.append({"step": step, "dev": {"cosine_accuracy@1": value, "cosine_mrr@10": value + 0.08}})
    return records


def seen(texts: Sequence[str] | None = None) -> Seen:
    """What was seen on the first test set; `texts` stand in the place of its texts, over and over."""
    told = cycle(texts or [f"text {n} about code {n}" for n in range(50)])

    def moved(before: float) -> Moved:
        return Moved({"anchor": (next(told),), "positive": (next(told), next(told))}, before, 1.0 - before)

    def near(place: int) -> tuple[Neighbour, ...]:
        return tuple(Neighbour(next(told), 0.9 - 0.07 * n, n == place) for n in range(5))

    edges = tuple(n / 20 for n in range(21))
    rising = tuple(n * n for n in range(20))
    return Seen(
        "help-test_cosine_accuracy@1",
        "cosine",
        Histogram(edges, rising, rising[10:] + rising[:10]),
        Histogram(edges, rising[5:] + rising[:5], rising[::-1]),
        tuple(moved(0.0) for _ in range(10)),
        tuple(moved(1.0) for _ in range(4)),
        tuple(Neighbours(next(told), near(2), near(0)) for _ in range(3)),
        tuple(
            SizePoint(name, dimensions, 6, value, value - 0.05, value + 0.05, seconds)
            for name, dimensions, value, seconds in (
                ("baseline", 384, 0.55, 4.1),
                ("tuned", 384, 0.69, 4.1),
                ("tuned", 128, 0.68, 4.1),
                ("tuned", 64, 0.64, None),
            )
        ),
        ("dot accuracy@1 falls by 0.0120, where cosine rises", "the saved model compares by cosine"),
    )


def hostile(examples: bool) -> Facts:
    """Every text of the data is one of HOSTILE."""
    texts = tuple(HOSTILE.values())
    found = [{"anchor": texts[i], "positive": texts[i + 1], "negative": texts[i + 2]} for i in range(0, 5, 2)]
    left_out, told = (
        [Note("audit", "rows left out", len(texts), texts)],
        [Finding("empty", "dev", "texts", 7, 9, texts)],
    )
    return facts(rows=found, notes=left_out, findings=told, examples=examples, seen=seen(texts))


def guarded(**changes: Any) -> Facts:
    """A run that overfits at step 180, is halved and frozen, skips two steps, thaws a layer and ends with advice."""
    made = facts(history=guarded_history(), advice=advices())
    return replace(made, **changes)


def guarded_history() -> list[dict[str, Any]]:
    """The calm history with what a guard adds to it."""
    records: list[dict[str, Any]] = []
    for record in history(300, 30):
        step = record["step"]
        if "dev" in record:
            share = step / 300
            signs = {
                "train_loss": 1.9 * math.exp(-4 * share) + 0.05,
                "dev_loss": 1.9 * math.exp(-4 * share) + 0.3 * share,
            }
            name, reason = _DIAGNOSES[0] if step < 180 else _DIAGNOSES[1]
            seen = {"signs": signs, "best": step == 210, "stop": ""}
            records.append({**record, "epoch": share * 5, **seen, "diagnosis": name if step else "", "reason": reason})
        else:
            records.append(record)
        records += _AFTER.get(step, []) if "dev" in record else []
    return records


_DIAGNOSES = (
    ("improving", "accuracy@1 from 0.55 (step 0) to 0.68"),
    ("overfitting", "accuracy@1 from 0.69 (step 150) to 0.67 is a fall of 3.4 standard errors"),
)
#: What stands in a history after the look of a step.
_AFTER: dict[int, list[dict[str, Any]]] = {
    60: [{"step": 60, "epoch": 1.0, "thawed": ["block 3"]}],
    90: [{"step": 95, "epoch": 1.5, "loss": None, "skipped": "loss is nan"}, {"step": 96, "skipped": "loss is nan"}],
    180: [
        {
            "step": 180,
            "epoch": 3.0,
            "remedy": "rate",
            "reason": "dev fell",
            "text": "every rate is 0.5 of it",
            "back_to": 150,
            "result": None,
        }
    ],
    210: [{"step": 210, "remedy_result": "rate", "value": 0.7, "text": "dev rose from 0.69 to 0.7"}],
    270: [{"step": 270, "epoch": 4.5, "remedy": "freeze", "reason": "dev <fell>", "back_to": 210, "result": None}],
}


def advices() -> list[Advice]:
    """Two, one of them with a source."""
    return [
        Advice("train.epochs", "4 instead of 5", "dev was best after 3.5 passes of 5.0", "Prechelt 1998"),
        Advice("data.dev", "more than 260 rows", "a difference in accuracy@1 is known to ±0.04"),
    ]
