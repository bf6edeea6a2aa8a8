"""How often does the interval of a change hold the true one? It says 95 times of 100.

Made-up models whose true difference is known, many test sets each: items that are won or lost (few discordant ones,
one-sided or not, alone or four to a group), values between 0 and 1 as nDCG has them, and, against the truth of two
million items, Spearman's correlation and average precision. What counts is the interval that `prove` gives, from
2,000 resamples instead of 10,000. Sets with fewer groups or discordant items than the verdict takes an interval's
word for (200 and 20) are shown as well; from there on coverage has to be within 93 to 97 %.

The same for the interval over several seeds, whose true change is that over all seeds and items that there could be:
items won or lost, in three of four cases alike in all seeds, and seeds that win more or less often, by a deviation of
so many times the error that drawing the items has. There a seed's own interval is its mean ± 1.96 standard errors,
which for the mean of 400 items is what the bootstrap gives.

`python prove/coverage.py` writes prove/results/coverage.json; it takes about ten minutes on one core, of which the
seeds, `python prove/coverage.py seeds`, take one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embertune.evaluate.bootstrap import Change
from embertune.evaluate.evalset import FloatArray, IntArray
from embertune.evaluate.proof import ENOUGH_DISCORDANT, ENOUGH_GROUPS
from embertune.evaluate.resampling import bootstrap
from embertune.evaluate.seeds import pooled
from embertune.evaluate.statistic import KindName, Statistic, mean_of

RESULTS = Path(__file__).parent / "results" / "coverage.json"
RESAMPLES = 2_000
#: Test sets of each world, and items from which the truth of a rank statistic is taken.
SETS, RANKED_SETS, MANY = 2_000, 1_000, 2_000_000
WITHIN = (0.93, 0.97)

#: A generator and a number of groups -> the two models' statistics, the group of every item, discordant items.
World = Callable[[np.random.Generator, int], tuple[tuple[Statistic, Statistic], IntArray, int]]


def won_or_lost(share: float, wins: float, size: int = 1) -> World:
    """Items of which such a share is discordant, and of these such a share is won; those of a group mostly alike."""

    def draw(chance: np.random.Generator, groups: int) -> tuple[tuple[Statistic, Statistic], IntArray, int]:
        place = np.repeat(np.arange(groups), size)

        def of_items(most: float) -> FloatArray:
            """One number for each item, in three of four cases that of its group."""
            shared, own = chance.random(groups)[place], chance.random(len(place))
            return np.where(chance.random(len(place)) < (most if size > 1 else 0.0), shared, own)

        step = np.where(of_items(0.75) < share, np.where(of_items(0.75) < wins, 1.0, -1.0), 0.0)
        return (mean_of(np.zeros_like(step)), mean_of(step)), place, int((step != 0).sum())

    return draw


def graded(gain: float) -> World:
    """Values between 0 and 1, many of them equal, which three in ten items of the other model have drawn anew."""

    def draw(chance: np.random.Generator, groups: int) -> tuple[tuple[Statistic, Statistic], IntArray, int]:
        def values(add: float) -> FloatArray:
            return np.clip(np.round(chance.beta(0.7, 0.4, groups) * 8 + add) / 8, 0, 1)

        before = values(0.0)
        after = np.where(chance.random(groups) < 0.3, values(gain), before)
        return (mean_of(before), mean_of(after)), np.arange(groups), int((before != after).sum())

    return draw


def correlated(kind: KindName, noises: tuple[float, float]) -> World:
    """Similarities that follow gold scores of six grades, or labels, with such noise, most of which both share."""

    def draw(chance: np.random.Generator, groups: int) -> tuple[tuple[Statistic, Statistic], IntArray, int]:
        truth = chance.integers(0, 6 if kind == "spearman" else 2, groups).astype(np.float64)
        spread = truth / truth.max()
        shared = chance.standard_normal(groups)
        sides = tuple(
            Statistic(kind, truth, (spread + noise * (0.8 * shared + 0.6 * chance.standard_normal(groups)),))
            for noise in noises
        )
        return (sides[0], sides[1]), np.arange(groups), groups

    return draw


WORLDS: dict[str, tuple[World, tuple[int, ...]]] = {
    "won or lost, 10 % discordant, 65 % of them won": (won_or_lost(0.10, 0.65), (50, 100, 200, 400, 1_000)),
    "won or lost, 10 % discordant, all of them won": (won_or_lost(0.10, 1.0), (50, 200, 400)),
    "won or lost, 3 % discordant, 65 % of them won": (won_or_lost(0.03, 0.65), (50, 200, 1_000, 3_000)),
    "won or lost, 30 % discordant, half of them won": (won_or_lost(0.30, 0.5), (50, 200, 1_000)),
    "won or lost, four to a group, 10 % discordant": (won_or_lost(0.10, 0.65, size=4), (50, 200, 1_000)),
    "values between 0 and 1": (graded(0.5), (50, 200, 1_000)),
    "Spearman": (correlated("spearman", (0.5, 0.4)), (50, 200, 500)),
    "average precision": (correlated("average_precision", (0.8, 0.6)), (50, 200, 500)),
}


#: Test sets of each case, items, the share that is discordant, and of these the share that is won.
SEED_SETS, SEED_GROUPS, SEED_SHARE, SEED_WINS = 2_000, 400, 0.10, 0.65
SEED_CASES = [(seeds, spread) for seeds in (2, 3, 5) for spread in (0.0, 0.5, 1.0, 2.0)]


def over_seeds(seeds: int, spread: float) -> dict[str, Any]:
    """Of many test sets and seeds, the share whose joint interval holds the true change."""
    chance = np.random.default_rng([seeds, int(10 * spread)])
    error = np.sqrt(SEED_SHARE / SEED_GROUPS)  # that drawing the items has, nearly
    truth = SEED_SHARE * (2 * SEED_WINS - 1)
    held, widths = 0, []
    for _ in range(SEED_SETS):
        shared = chance.random((2, SEED_GROUPS))
        changes = []
        for _ in range(seeds):
            wins = SEED_WINS + spread * error / (2 * SEED_SHARE) * chance.standard_normal()
            drawn = np.where(chance.random((2, SEED_GROUPS)) < 0.75, shared, chance.random((2, SEED_GROUPS)))
            step = np.where(drawn[0] < SEED_SHARE, np.where(drawn[1] < wins, 1.0, -1.0), 0.0)
            mean, reach = float(step.mean()), 1.96 * float(step.std()) / np.sqrt(SEED_GROUPS)
            changes.append(Change(mean, mean - reach, mean + reach, 0.5, RESAMPLES))
        found = pooled(changes, SEED_GROUPS)
        held += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    return {
        "seeds": seeds,
        "deviation of seeds, in errors of items": spread,
        "sets": SEED_SETS,
        "coverage": held / SEED_SETS,
        "length, in errors of items": float(np.median(widths) / error),
    }


def coverage(name: str, groups: int) -> dict[str, Any]:
    """Of many test sets, the share whose interval holds the true difference.

    Where some sets have enough to tell and some have not, four times as many, so that the former are many too.
    """
    world = WORLDS[name][0]
    truth = true_difference(world)
    chance = np.random.default_rng([groups, *name.encode()])
    held = told = enough = seed = 0
    discordant = []
    ranked = world(chance, 2)[0][0].kind != "mean"
    sets = RANKED_SETS if ranked else SETS
    while seed < (4 * sets if sets > enough > 0.2 * sets else sets):
        both, place, differ = world(chance, groups)
        before, after = bootstrap(both, place, RESAMPLES, seed)
        low, high = np.nanquantile(after - before, [0.025, 0.975])
        inside = low <= truth <= high
        held += inside
        discordant.append(differ)
        if groups >= ENOUGH_GROUPS and differ >= ENOUGH_DISCORDANT:
            enough += 1
            told += inside
        seed += 1
    sets = seed
    return {
        "groups": groups,
        "discordant": float(np.mean(discordant)),
        "sets": sets,
        "coverage": held / sets,
        "with enough to tell": enough / sets,
        "coverage there": told / enough if enough else None,
    }


def true_difference(world: World) -> float:
    """What the two models differ by, on a set so large that chance is no matter."""
    (before, after), *_ = world(np.random.default_rng(1), MANY)
    return after.value() - before.value()


def of_worlds() -> dict[str, Any]:
    """One run's intervals."""
    found = {name: [coverage(name, groups) for groups in sizes] for name, (_, sizes) in WORLDS.items()}
    held = [one for several in found.values() for one in several if one["with enough to tell"] > 0.5]
    for name, several in found.items():
        for one in several:
            there = one["coverage there"]
            told = f", {there:.1%} of {one['with enough to tell']:.0%}" if there is not None else ""
            print(f"{name}, {one['groups']:,} groups, {one['discordant']:.0f}: {one['coverage']:.1%}{told}", flush=True)
    return {
        "rule": {"groups": ENOUGH_GROUPS, "discordant": ENOUGH_DISCORDANT},
        "resamples": RESAMPLES,
        "worlds": found,
        "outside 93 to 97 %": [one for one in held if not WITHIN[0] <= one["coverage there"] <= WITHIN[1]],
    }


def of_seeds() -> dict[str, Any]:
    """The intervals over several seeds."""
    found = []
    for case in SEED_CASES:
        found.append(over_seeds(*case))
        print(found[-1], flush=True)
    return {"several seeds": found}


PARTS = {"worlds": of_worlds, "seeds": of_seeds}


def main(parts: list[str]) -> None:
    """Simulate all, or some parts beside what is known of the others."""
    record = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for part in parts or PARTS:
        began = time.perf_counter()
        record |= PARTS[part]()
        record["seconds"] = record.get("seconds", {}) | {part: round(time.perf_counter() - began)}
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
