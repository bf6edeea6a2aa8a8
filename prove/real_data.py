"""Real data, one epoch, nothing given but model, data and output: what does `embertune run` gain?

`make prove` runs the five sets one after another (an hour on two cores) and writes prove/results/real_data.json.
The data is looked for in $EMBERTUNE_DATA (default ../shared/data from the project root); what is not there is skipped.
Name sets to run only those: `python prove/real_data.py stsb scifact`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from embertune.manifest import versions

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EMBERTUNE_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "real_data.json"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
#: Set to what is given beside model, data and output: one epoch, and the limits that keep a run short.
SETS: dict[str, tuple[str, ...]] = {
    "nli": ("data.limit=6000",),
    "stsb": (),
    "banking77": (),
    "scifact": (),
    "squad": ("data.limit=3000",),
}


def measure(name: str, settings: tuple[str, ...], out: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    words = ["run", "--model", MODEL, "--train", str(DATA / name), "--out", str(out / name), "--json"]
    for setting in ("train.epochs=1", *settings):
        words += ["--set", setting]
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "embertune", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    result = json.loads(done.stdout)
    primary = result["primary"]
    return {
        "settings": list(settings),
        "primary": primary,
        "baseline": result["baseline"][primary],
        "tuned": result["tuned"][primary],
        "change": result["change"][primary],
        "verdict": result["verdict"],
        "sentence": result["sentence"],
        "chosen": result["chosen"],
        "reason": result["reason"],
        "seconds": round(time.perf_counter() - started, 1),
        "timing": {stage: round(seconds, 1) for stage, seconds in result["timing"].items()},
        "hardware": json.loads((out / name / "manifest.json").read_text(encoding="utf-8"))["hardware"],
        "recipe": (out / name / "recipe.yaml").read_text(encoding="utf-8").replace(str(DATA), "$EMBERTUNE_DATA"),
    }


def main(wanted: list[str]) -> None:
    """Run what is asked for and there, and keep earlier results of the rest."""
    record: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"runs": {}}
    record |= {"model": MODEL, "versions": versions()}
    for name in wanted or SETS:
        if not (DATA / name).is_dir():
            print(f"{name}: skipped, {DATA / name} is not there")
            continue
        with tempfile.TemporaryDirectory() as out:
            record["runs"][name] = measure(name, SETS[name], Path(out))
        print(name, record["runs"][name]["sentence"], f"({record['runs'][name]['seconds']} s)", flush=True)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
