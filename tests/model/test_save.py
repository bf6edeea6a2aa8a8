"""A saved model is whole, plain, and the same one, also where embertune does not exist."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embertune.errors import RunFolderError
from embertune.model import save as saving
from embertune.model.build import build
from embertune.model.encode import make_encode
from embertune.model.prompts import ROLES
from embertune.model.save import fingerprint, save

Load = Callable[[], SentenceTransformer]
TEXTS = ["how can i repair the car", "they wash the boat"]

ELSEWHERE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "embertune":
            raise ImportError("embertune is not here")

sys.meta_path.insert(0, Blocker())
import json
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
texts, roles = json.loads(sys.argv[2]), json.loads(sys.argv[3])
found = {role: model.encode(texts, prompt_name=role).tolist() for role in roles}
found["query"], found["document"] = model.encode_query(texts).tolist(), model.encode_document(texts).tolist()
found["plain"] = model.encode(texts).tolist()
print(json.dumps(found))
"""


def test_a_saved_model_is_the_same_where_embertune_cannot_be_imported(tiny_model_path: Path, tmp_path: Path) -> None:
    prompts = {"anchor": "query: ", "positive": "passage: ", "text": "text: "}
    built = build(str(tiny_model_path), prompts=prompts, pooling="cls", max_length=32)
    save(built.model, tmp_path / "model", card="# A model\n")
    arguments = [str(tmp_path / "model"), json.dumps(TEXTS), json.dumps(ROLES)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, *arguments], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(done.stdout.splitlines()[-1])
    encode = make_encode(built.model, built.role_prompts)
    expected = {role: encode(TEXTS, role) for role in ROLES}
    expected |= {"query": expected["anchor"], "document": expected["positive"], "plain": expected["sentence1"]}
    for name, vectors in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), vectors, atol=1e-6, err_msg=name)
    assert not np.allclose(expected["anchor"], expected["positive"])


def test_where_all_texts_share_a_prompt_plain_encode_applies_it(tiny_model_path: Path, tmp_path: Path) -> None:
    built = build(str(tiny_model_path), prompts={"sentence1": "s: ", "sentence2": "s: "})
    save(built.model, tmp_path / "model", card="")
    again = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    wanted = make_encode(built.model, built.role_prompts)(TEXTS, "sentence2")
    np.testing.assert_allclose(again.encode(TEXTS), wanted, atol=1e-6)


def test_prompts_survive_saving_and_building_again(tiny_model_path: Path, tmp_path: Path) -> None:
    first = build(str(tiny_model_path), prompts={"anchor": "query: ", "positive": "passage: "})
    save(first.model, tmp_path / "model", card="")
    again = build(str(tmp_path / "model"))
    assert again.role_prompts == first.role_prompts
    assert fingerprint(again.model) == fingerprint(first.model)


def test_the_folder_has_our_card_safetensors_and_no_pickle(tiny_model: Load, tmp_path: Path) -> None:
    save(tiny_model(), tmp_path / "model", card="# Ours\n")
    names = {path.name for path in (tmp_path / "model").rglob("*")}
    assert (tmp_path / "model" / "README.md").read_text() == "# Ours\n"
    assert "model.safetensors" in names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_older_model_is_replaced_and_other_things_are_not(tiny_model: Load, tmp_path: Path) -> None:
    save(tiny_model(), tmp_path / "model", card="first")
    save(tiny_model(), tmp_path / "model", card="second")
    assert (tmp_path / "model" / "README.md").read_text() == "second"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="something else than a model"):
        save(tiny_model(), tmp_path / "thesis", card="")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("there_before", [False, True])
def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    if there_before:
        save(tiny_model(), tmp_path / "model", card="before")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving, "_flush", full)
    with pytest.raises(RunFolderError, match="no space left"):
        save(tiny_model(), tmp_path / "model", card="after")
    assert [path.name for path in tmp_path.iterdir()] == ["model"] * there_before
    if there_before:
        assert (tmp_path / "model" / "README.md").read_text() == "before"


def test_an_interruption_leaves_nothing_half_written(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "_flush", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(tiny_model(), tmp_path / "model", card="")
    assert list(tmp_path.iterdir()) == []


def test_a_fingerprint_tells_the_smallest_change(tiny_model: Load) -> None:
    model = tiny_model()
    assert fingerprint(model) == fingerprint(tiny_model())
    before = fingerprint(model)
    with torch.no_grad():
        parameter = next(model.parameters())
        parameter[3, 3] = torch.nextafter(parameter[3, 3], torch.tensor(10.0))
    assert fingerprint(model) != before


def test_a_fingerprint_knows_half_precision(tiny_model: Load) -> None:
    assert fingerprint(tiny_model().bfloat16()) != fingerprint(tiny_model())
