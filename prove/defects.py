"""Defects of each kind, planted in 50,000 real rows: how many are found, and how much of what is found was planted?

`python prove/defects.py` takes nli/ from $EMBERTUNE_DATA (default ../shared/data from the project root) and writes
prove/results/defects.json. Rows that have a defect by nature are taken out first, by the plain definitions below, which
share no code with the audit. Near duplicates that stand there by nature stay; each pair found is verified here again.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from embertune.data.hashing import folded, keys_of
from embertune.data.keyed import keyed
from embertune.data.leaks import without_leaks
from embertune.data.nearness import near_texts
from embertune.data.prepared import Prepared, ShapeName, Sides
from embertune.data.repeats import conflicting, family, own_answer, right_and_wrong, wrong_of_itself
from embertune.manifest import versions

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "defects.json"
ROWS, EACH = 50_000, 500
#: What must be reached: of kinds that are equalities, and of near duplicates planted a tenth above the threshold.
EQUAL, NEAR = 0.99, 0.95
THRESHOLDS = (0.6, 0.7, 0.8)
LABELS = ("entailment", "neutral", "contradiction")

Row = dict[str, Any]


def plain(text: str) -> str:
    """A text without case, width, spaces and punctuation around it."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = " ".join(text.split())
    low, high = 0, len(words)
    while low < high and _bare(words[low]):
        low += 1
    while high > low and _bare(words[high - 1]):
        high -= 1
    return words[low:high] or words


def _bare(mark: str) -> bool:
    return mark == " " or (unicodedata.category(mark).startswith("P") and mark not in "#%&@*/\\")


def varied(text: str, chance: random.Random) -> str:
    """Another spelling of the same text: case, spaces, width or punctuation changed."""
    ways = [
        text.upper(),
        f"  {text}",
        text.replace(" ", "   "),
        f"“{text}”",
        text.rstrip(".!?") + " !",
        f"{text}\u2026",
    ]
    ways.append(chr(ord(text[0]) + 0xFEE0) + text[1:] if "!" <= text[0] <= "~" else f"({text})")
    fit = [way for way in ways if way != text and plain(way) == plain(text)]
    return chance.choice(fit or [f"{text} "])


def clean(rows: Iterable[Row], wanted: int) -> list[Row]:
    """Rows without any of the defects: no pair twice, in either order, and no text that is its own hypothesis."""
    kept, pairs = [], set()
    for row in rows:
        one, two = plain(row["premise"]), plain(row["hypothesis"])
        if one == two or not one or not two or frozenset((one, two)) in pairs or row["label"] not in LABELS:
            continue
        pairs.add(frozenset((one, two)))
        kept.append({**row, "label": LABELS.index(row["label"])})
        if len(kept) == wanted:
            break
    return kept


def held(shape: ShapeName, rows: Sequence[Row]) -> Prepared:
    """Rows with their roles; groups play no part here."""
    return Prepared("nli", shape, Dataset.from_list([{**row, "group": 0} for row in rows]))


def judged(planted: set[int], found: Iterable[int]) -> dict[str, Any]:
    """Counts, and recall and precision."""
    found = set(found)
    right = len(planted & found)
    return {
        "planted": len(planted),
        "found": len(found),
        "recall": right / max(len(planted), 1),
        "precision": right / max(len(found), 1),
    }


def in_pairs(base: Sequence[Row], each: int, chance: random.Random) -> dict[str, Any]:
    """Duplicates, conflicts, texts that are their own answer, and leaked pairs, among inference rows."""
    rows = list(base)
    truth: dict[str, set[int]] = defaultdict(set)
    first = {plain(row["premise"]): at for at, row in enumerate(base)}  # premises repeat; planted rows must not
    picks = iter([at for at in chance.sample(range(len(base)), len(base)) if first[plain(base[at]["premise"])] == at])
    for _ in range(each):
        at = next(picks)
        truth["exact_duplicates"] |= {at, len(rows)}
        rows.append(dict(base[at]))
        at = next(picks)
        truth["normalised_duplicates"] |= {at, len(rows)}
        rows.append({**base[at], "hypothesis": varied(base[at]["hypothesis"], chance)})
        at = next(picks)
        truth["conflicting_labels"] |= {at, len(rows)}
        changed = chance.choice([base[at]["premise"], varied(base[at]["premise"], chance)])
        rows.append({**base[at], "premise": changed, "label": (base[at]["label"] + chance.choice([1, 2])) % 3})
        at = next(picks)
        truth["anchor_is_positive"].add(len(rows))
        rows.append({**base[at], "hypothesis": varied(base[at]["premise"], chance), "label": 0})
    side = keyed("train", held("nli", rows))
    exact = family(side.row_keys(side.exact))
    masks = {
        "exact_duplicates": exact,
        "normalised_duplicates": family(side.row_keys(side.folded)) & ~exact,
        "conflicting_labels": conflicting(side),
        "anchor_is_positive": own_answer(side),
    }
    return {kind: judged(truth[kind], np.flatnonzero(mask).tolist()) for kind, mask in masks.items()}


def in_triplets(base: Sequence[Row], each: int, chance: random.Random) -> dict[str, Any]:
    """Positives and anchors that are negatives, and pairs that are right in one row and wrong in another."""
    rows = _triplets(base)
    rows = [row for row in rows if len({plain(text) for text in row.values()}) == 3]
    right = {(plain(row["anchor"]), plain(row["positive"])) for row in rows}
    rows = [row for row in rows if (plain(row["anchor"]), plain(row["negative"])) not in right]
    truth: dict[str, set[int]] = defaultdict(set)
    picks = iter(chance.sample(range(len(rows)), 3 * each))
    for _ in range(each):
        at = next(picks)
        truth["positive_is_negative"].add(at)
        rows[at] = {**rows[at], "negative": varied(rows[at]["positive"], chance)}
        at = next(picks)
        truth["anchor_is_negative"].add(at)
        rows[at] = {**rows[at], "negative": varied(rows[at]["anchor"], chance)}
        at = next(picks)
        truth["right_and_wrong_elsewhere"] |= {at, len(rows)}
        rows.append({**rows[at], "positive": f"planted {at}", "negative": varied(rows[at]["positive"], chance)})
    side = keyed("train", held("triplets", rows))
    masks = {
        "positive_is_negative": right_and_wrong(side),
        "anchor_is_negative": wrong_of_itself(side),
        "right_and_wrong_elsewhere": conflicting(side),
    }
    # A pair is right wherever it stands as such, so rows with the same pair as the planted one conflict with it too.
    pairs = Counter((plain(row["anchor"]), plain(row["positive"])) for row in rows)
    assert max(pairs.values()) == 1
    return {kind: judged(truth[kind], np.flatnonzero(mask).tolist()) for kind, mask in masks.items()}


def _triplets(base: Sequence[Row]) -> list[Row]:
    """Each premise and hypothesis with the next row's hypothesis as the negative."""
    after = [*base[1:], base[0]]
    return [
        {"anchor": row["premise"], "positive": row["hypothesis"], "negative": other["hypothesis"]}
        for row, other in zip(base, after, strict=True)
    ]


def leaked(base: Sequence[Row], each: int, chance: random.Random) -> dict[str, Any]:
    """Pairs of test, in either order, and anchors of test that stand in train: which rows are taken out of train."""
    train, rest = list(base[:-each]), base[-each:]
    pairs = {frozenset((plain(row["premise"]), plain(row["hypothesis"]))) for row in train}
    rest = [row for row in rest if frozenset((plain(row["premise"]), plain(row["hypothesis"]))) not in pairs]
    picked = chance.sample(range(len(train)), each)
    planted = []
    for at in picked:
        texts = [varied(train[at][column], chance) for column in ("premise", "hypothesis")]
        chance.shuffle(texts)
        planted.append({"premise": texts[0], "hypothesis": texts[1], "label": 0})
    found = {"leaked_pairs": judged(set(picked), _dropped(held("nli", train), held("nli", [*rest, *planted])))}
    rows = _triplets(train)
    texts_of = [{plain(text) for text in row.values()} for row in rows]
    asked = {plain(train[at]["premise"]) for at in picked}
    truth = {at for at, texts in enumerate(texts_of) if texts & asked}
    test = [{**rows[at], "anchor": varied(rows[at]["anchor"], chance), "negative": f"planted {at}"} for at in picked]
    found["leaked_anchors"] = judged(truth, _dropped(held("triplets", rows), held("triplets", test)))
    return found


def _dropped(train: Prepared, test: Prepared) -> set[int]:
    numbered = train.take(train.rows.add_column("number", list(range(len(train)))))
    left = without_leaks(Sides(numbered, None, {"nli": test}), "drop").train.rows["number"]
    return set(range(len(train))) - set(left)


def shingles(text: str) -> set[tuple[str, ...]]:
    """Words and pairs of neighbouring words."""
    words = [word for word in map(plain, text.split()) if any(mark.isalnum() for mark in word)]
    return {*((word,) for word in words), *pairwise(words)}


def jaccard(one: str, other: str) -> float:
    left, right = shingles(one), shingles(other)
    return len(left & right) / max(len(left | right), 1)


def edited(text: str, low: float, words: Sequence[str], chance: random.Random) -> str | None:
    """The text with words replaced, left out, put in or swapped until it is `low` to `low + 0.1` like itself, if so."""
    parts = text.split()
    for _ in range(20):
        at, way = chance.randrange(len(parts)), chance.randrange(4)
        if way == 0:
            parts[at] = chance.choice(words)
        elif way == 1 and len(parts) > 2:
            del parts[at]
        elif way == 2:
            parts.insert(at, chance.choice(words))
        elif at:
            parts[at - 1], parts[at] = parts[at], parts[at - 1]
        alike = jaccard(text, " ".join(parts))
        if alike < low:
            return None
        if alike < low + 0.1 and plain(" ".join(parts)) != plain(text):
            return " ".join(parts)
    return None


def nearly(base: Sequence[Row], each: int, threshold: float, chance: random.Random) -> dict[str, Any]:
    """Texts planted a tenth and more above the threshold; every pair found is verified by sets."""
    words = " ".join(row["hypothesis"] for row in base[:2000]).split()
    rows, planted = list(base), []
    for at in chance.sample(range(len(base)), len(base)):
        text = base[at]["premise"]
        near = edited(text, threshold + 0.1, words, chance)
        if near is not None:
            planted.append((text, near))
            rows.append({**base[at], "premise": near})
        if len(planted) == each:
            break
    side = keyed("train", held("nli", rows))
    found = near_texts([side], threshold)
    pairs = set(zip(found.pairs.left.tolist(), found.pairs.right.tolist(), strict=True))
    keys = np.searchsorted(found.keys, keys_of([text for pair in planted for text in pair], folded)).reshape(-1, 2)
    hit = sum((min(pair), max(pair)) in pairs for pair in keys.tolist())
    texts = {key: text for row in rows for text in (row["premise"], row["hypothesis"]) for key in [plain(text)]}
    by_key = dict(zip(keys_of(list(texts), str).tolist(), texts.values(), strict=True))
    named = found.keys.tolist()
    true = sum(jaccard(by_key[named[one]], by_key[named[two]]) >= threshold for one, two in pairs)
    return {
        "threshold": threshold,
        "planted": len(planted),
        "recall": hit / max(len(planted), 1),
        "pairs": len(pairs),
        "precision": true / max(len(pairs), 1),
        "passed over": found.pairs.passed_over,
    }


def measure(rows: Iterable[Row], wanted: int, each: int) -> dict[str, Any]:
    """All kinds, each planted `each` times in `wanted` clean rows."""
    base, chance = clean(rows, wanted), random.Random(0)
    equal = {**in_pairs(base, each, chance), **in_triplets(base, each, chance), **leaked(base, each, chance)}
    near = [nearly(base, each, threshold, chance) for threshold in THRESHOLDS]
    return {"rows": len(base), "each": each, "equal": equal, "near": near}


def short_of(record: dict[str, Any]) -> list[str]:
    """What did not reach the demand."""
    few = [kind for kind, of in record["equal"].items() if min(of["recall"], of["precision"]) < EQUAL]
    return few + [f"near {of['threshold']}" for of in record["near"] if of["recall"] < NEAR or of["precision"] < 1.0]


def main() -> None:
    """Measure on real rows and write the record."""
    path = DATA / "nli" / "train.jsonl.gz"
    if not path.is_file():
        print(f"skipped, {path} is not there")
        return
    started = time.process_time()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        record = measure(map(json.loads, lines), ROWS, EACH)
    record |= {"processor seconds": round(time.process_time() - started, 1), "versions": versions()}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))
    if missed := short_of(record):
        sys.exit(f"short of what is asked: {', '.join(missed)}")


if __name__ == "__main__":
    main()
