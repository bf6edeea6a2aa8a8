"""Stored tokens are what the model itself would read, each text is read once, and files survive crowds and crashes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from embertune.engine import shelf
from embertune.engine import tokens as tokens_module
from embertune.engine.reading import reading
from embertune.engine.segment import ENDING, Segment, keys, made, merged, opened, write
from embertune.engine.tokens import TokenStore, faithful, open_store
from tests import tiny

Load = Callable[[], SentenceTransformer]

TEXTS = [
    "how can i repair the car",
    "",
    "a word",
    "how can i repair the car",
    "LARGE and  wide",
    "nobody knows this: zzzxxyq, or does one?",
    "stone " * 100,
    "naïve café 東京",
    " spaces ",
]


def equal(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Names in order, types and values."""
    if list(ours) != list(theirs):
        return False
    pairs = ((ours[name], theirs[name]) for name in theirs)
    return all(
        a.dtype == b.dtype and torch.equal(a, b) if isinstance(b, torch.Tensor) else type(a) is type(b) and a == b
        for a, b in pairs
    )


def _wordpiece() -> Tokenizer:
    words = {w: i for i, w in enumerate(tiny.vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")))}
    made_ = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made_.normalizer = normalizers.BertNormalizer()
    made_.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made_.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made_


def _bytes(template: str) -> Tokenizer:
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = {w: i for i, w in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    merges = [("t", "h"), ("Ġ", "t"), ("Ġ", "a"), ("Ġt", "h"), ("o", "n")]
    for left, right in merges:
        letters.setdefault(left + right, len(letters))
    made_ = Tokenizer(models.BPE(letters, merges))
    made_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made_.decoder = decoders.ByteLevel()
    if template == "roberta":
        made_.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    elif template:
        made_.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(name, i) for i, name in enumerate(specials)]
        )
    return made_


def _unigram(template: str) -> Tokenizer:
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(w, 0.0) for w in specials] + [("▁", -2.0)] + [(f"▁{w}", -6.0) for w in tiny.COMMON]
    pieces += [(chr(code), -9.0) for code in range(97, 123)]
    made_ = Tokenizer(models.Unigram(pieces, unk_id=3))
    made_.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    made_.pre_tokenizer = pre_tokenizers.Metaspace()
    made_.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, i) for i, name in enumerate(specials)]
    )
    return made_


_TYPES = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}

#: The families' ways: what stands before and behind a text, the side that is padded, the side that is cut.
FAMILIES: dict[str, tuple[Callable[[], Tokenizer], dict[str, Any]]] = {
    "bert": (_wordpiece, {"pad_token": "[PAD]", "unk_token": "[UNK]", **_TYPES}),
    "roberta": (
        lambda: _bytes("roberta"),
        {"pad_token": "<pad>", "model_input_names": ["input_ids", "attention_mask"]},
    ),
    "xlm-roberta": (
        lambda: _unigram("<s> $A </s>"),
        {"pad_token": "<pad>", "eos_token": "</s>", "model_input_names": ["input_ids", "attention_mask"]},
    ),
    "t5": (lambda: _unigram("$A </s>"), {"pad_token": "<pad>", "eos_token": "</s>"}),
    "qwen": (lambda: _bytes("$A </s>"), {"pad_token": "</s>", "padding_side": "left"}),
    "no special tokens": (lambda: _bytes(""), {"pad_token": "<pad>", "padding_side": "left"}),
    "cut on the left": (lambda: _bytes("<s> $A </s>"), {"pad_token": "<pad>", "truncation_side": "left"}),
    "types of padding": (_wordpiece, {"pad_token": "[PAD]", "unk_token": "[UNK]", "pad_token_type_id": 3, **_TYPES}),
}


def family(model: SentenceTransformer, name: str, limit: int = 24) -> SentenceTransformer:
    """The model with the tokenizer of another family; its features are asked for, never its vectors."""
    make, options = FAMILIES[name]
    model[0].processor = PreTrainedTokenizerFast(tokenizer_object=make(), model_max_length=limit, **options)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_the_models_own_in_every_family(tiny_model: Load, name: str) -> None:
    model = family(tiny_model(), name)
    store = open_store(model, None)
    assert store is not None
    for prompt in ("", "query: ", "the "):
        for texts in (TEXTS, TEXTS[:1], TEXTS[1:2], TEXTS[6:7], TEXTS[::-1]):
            assert equal(store.features(texts, prompt), dict(model.preprocess(texts, prompt=prompt)))
        host = [len(ids) for ids in model.tokenizer([prompt + text for text in TEXTS], truncation=True)["input_ids"]]
        assert store.lengths(TEXTS, prompt).tolist() == host
        host = [len(ids) for ids in model.tokenizer([prompt + text for text in TEXTS], verbose=False)["input_ids"]]
        assert store.counts(TEXTS, prompt).tolist() == host


def test_features_are_the_models_own_for_mpnet(tiny_mpnet_path: Path, tmp_path: Path) -> None:
    path = tiny.make_model(tiny_mpnet_path, tmp_path / "mpnet")
    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    store = open_store(model, tmp_path / "store")
    assert store is not None
    assert equal(store.features(TEXTS, "ask: "), dict(model.preprocess(TEXTS, prompt="ask: ")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=6), prompt=st.sampled_from(["", "q: ", "東 "]))
def test_features_are_the_models_own_for_any_text(
    any_store: tuple[SentenceTransformer, TokenStore], texts: list[str], prompt: str
) -> None:
    model, store = any_store
    assert equal(store.features(texts, prompt), dict(model.preprocess(texts, prompt=prompt)))


@pytest.fixture(scope="module")
def any_store(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SentenceTransformer, TokenStore]:
    model = SentenceTransformer(str(tiny_model_path), device="cpu", local_files_only=True)
    store = open_store(model, tmp_path_factory.mktemp("store"))
    assert store is not None
    return model, store


def test_the_models_own_tokenizer_is_left_as_it_was(tiny_model: Load) -> None:
    model = tiny_model()
    before = model.tokenizer.backend_tokenizer.to_str()
    random_state = torch.get_rng_state()
    store = open_store(model, None)
    assert store is not None
    model.preprocess(["a"])  # the host itself leaves its last padding behind
    known = model.tokenizer.backend_tokenizer.to_str()
    store.features(TEXTS)
    assert model.tokenizer.backend_tokenizer.to_str() == known
    assert torch.equal(torch.get_rng_state(), random_state)
    assert before


def _chat(model: SentenceTransformer) -> None:
    model[0].modality_config = {**model[0].modality_config, "message": {"method": "forward"}}


def _own_way(model: SentenceTransformer) -> None:
    host = model[0].preprocess
    model[0].preprocess = lambda inputs, **options: host([text.upper() for text in inputs], **options)


def _extra_types(model: SentenceTransformer) -> None:
    own = _wordpiece()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    model[0].processor = PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="[PAD]", unk_token="[UNK]", model_max_length=24, **_TYPES
    )


NOT_PLAIN: dict[str, Callable[[SentenceTransformer], object]] = {
    "chat template": _chat,
    "a preprocess of its own": _own_way,
    "flattened inputs": lambda model: setattr(model[0], "can_flatten_inputs", True),
    "processing options": lambda model: model[0].processing_kwargs.update({"text": {"max_length": 8}}),
    "token types within a text": _extra_types,
    "no room beside special tokens": lambda model: setattr(model, "max_seq_length", 2),
}


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_a_model_that_reads_in_another_way_has_no_store(tiny_model: Load, case: str) -> None:
    model = tiny_model()
    NOT_PLAIN[case](model)
    assert open_store(model, None) is None


def test_a_model_of_static_embeddings_has_no_store() -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    model = SentenceTransformer(modules=[StaticEmbedding(_wordpiece(), embedding_dim=8)], device="cpu")
    assert open_store(model, None) is None


def test_a_reading_that_differs_from_the_models_own_in_one_token_is_not_trusted(tiny_model: Load) -> None:
    read = reading(tiny_model())
    assert read is not None
    assert faithful(read)
    read.tokenizer.normalizer = normalizers.Strip()
    assert not faithful(read)


def test_what_is_not_a_list_of_plain_texts_goes_to_the_model_itself(tiny_model: Load) -> None:
    model = tiny_model()
    store = open_store(model, None)
    assert store is not None
    pairs = [("a car", "a boat"), ("a", "b")]
    assert equal(dict(store.preprocess(pairs)), dict(model.preprocess(pairs)))
    assert equal(dict(store.preprocess(TEXTS, max_length=5)), dict(model.preprocess(TEXTS, max_length=5)))
    assert equal(dict(store.preprocess(TEXTS, None, task=None)), dict(model.preprocess(TEXTS)))
    assert store.preprocess([]) == {}


def test_a_tokenizer_that_is_changed_afterwards_is_noticed(tiny_model: Load) -> None:
    model = tiny_model()
    store = open_store(model, None)
    assert store is not None
    model.max_seq_length = 12
    with pytest.raises(ValueError, match="other settings"):
        store.features(TEXTS)


def test_each_text_is_tokenised_once_also_over_two_stores(tiny_model: Load, tmp_path: Path) -> None:
    first = open_store(tiny_model(), tmp_path)
    assert first is not None
    assert first.add(TEXTS) == len(set(TEXTS))
    assert first.add(TEXTS) == 0
    assert first.add(TEXTS, "query: ") == len(set(TEXTS))
    second = open_store(tiny_model(), tmp_path)
    assert second is not None
    assert second.add(iter(TEXTS)) == 0
    assert len(list(tmp_path.rglob(f"*{ENDING}"))) == 2


def test_another_limit_or_another_tokenizer_has_tokens_of_its_own(tiny_model: Load, tmp_path: Path) -> None:
    models_ = [tiny_model(), tiny_model(), family(tiny_model(), "roberta"), family(tiny_model(), "cut on the left")]
    models_[1].max_seq_length = 12
    for model in models_:
        store = open_store(model, tmp_path)
        assert store is not None
        assert store.add(TEXTS) == len(set(TEXTS))
        assert equal(store.features(TEXTS), dict(model.preprocess(TEXTS)))
    assert len(list(tmp_path.iterdir())) == len(models_)


def test_many_small_files_become_few_and_nothing_is_lost(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "CHUNK", 5)
    model = tiny_model()
    texts = [f"{tiny.question(i)} {i}" for i in range(200)]
    onlooker = open_store(model, tmp_path)
    store = open_store(model, tmp_path)
    assert store is not None
    assert onlooker is not None
    onlooker.add(texts[:3])
    assert store.add(texts) == 197
    assert len(list(tmp_path.rglob(f"*{ENDING}"))) <= shelf.MANY
    shuffled = random.Random(0).sample(texts, 200)
    for one in (store, onlooker, open_store(model, tmp_path)):
        assert one is not None
        assert one.add(texts) == 0
        assert equal(one.features(shuffled), dict(model.preprocess(shuffled)))


def test_single_texts_met_by_the_way_wait_for_others_before_they_are_written(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "FEW", 50)
    model = tiny_model()
    store = open_store(model, tmp_path)
    assert store is not None
    for i in range(49):
        store.features([f"{tiny.question(i)} {i}"])
    assert not list(tmp_path.rglob(f"*{ENDING}"))
    store.features(["one more"])
    assert len(list(tmp_path.rglob(f"*{ENDING}"))) == 1
    again = open_store(model, tmp_path)
    assert again is not None
    assert again.add(f"{tiny.question(i)} {i}" for i in range(49)) == 0


def test_a_folder_that_cannot_be_written_leaves_the_tokens_in_memory_and_says_so(
    tiny_model: Load, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    model = tiny_model()
    store = open_store(model, tmp_path / "file")
    assert store is not None
    assert "file" in store.trouble
    assert store.add(TEXTS) == len(set(TEXTS))
    assert store.add(TEXTS) == 0
    assert equal(store.features(TEXTS), dict(model.preprocess(TEXTS)))


def test_a_disk_that_fills_up_in_between_loses_nothing(
    tiny_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    store = open_store(model, tmp_path)
    assert store is not None
    store.add(TEXTS[:3])
    (folder,) = tmp_path.iterdir()
    (folder / "writing").unlink()
    (folder / "writing").mkdir()  # nothing can be locked there, as nothing can be on a broken disk
    assert store.add(TEXTS) == len(set(TEXTS[3:]) - set(TEXTS[:3]))
    assert "writing" in store.trouble
    assert equal(store.features(TEXTS), dict(model.preprocess(TEXTS)))


def test_a_damaged_file_is_passed_over(tiny_model: Load, tmp_path: Path) -> None:
    model = tiny_model()
    store = open_store(model, tmp_path)
    assert store is not None
    store.add(TEXTS)
    (path,) = tmp_path.rglob(f"*{ENDING}")
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], whole[:40], b"\0" * len(whole)):
        path.unlink()
        path.write_bytes(broken)
        again = open_store(model, tmp_path)
        assert again is not None
        assert again.add(TEXTS[:1]) == 1
        assert equal(again.features(TEXTS), dict(model.preprocess(TEXTS)))
        for other in tmp_path.rglob(f"*{ENDING}"):
            other.unlink()
        path.write_bytes(whole)


def _segment(texts: list[str]) -> Segment:
    ids = np.concatenate([np.full(len(text), len(text), dtype=np.uint16) for text in texts])
    lengths = np.array([len(text) for text in texts])
    return made(*keys(texts), ids, lengths, lengths + 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=1, unique=True), min_size=1, max_size=4))
def test_segments_find_what_they_hold_and_nothing_else(parts: list[list[str]]) -> None:
    whole = merged([_segment(texts) for texts in parts])
    distinct = list(dict.fromkeys(text for texts in parts for text in texts))
    assert len(whole) == len(distinct)
    rows = whole.find(*keys(distinct))
    assert whole.length[rows].tolist() == [len(text) for text in distinct]
    assert whole.count[rows].tolist() == [len(text) + 1 for text in distinct]
    assert whole.take(rows).tolist() == [len(text) for text in distinct for _ in text]
    assert (whole.find(*keys(["not one of them"])) == -1).all()


def test_texts_that_share_the_first_half_of_their_key_are_told_apart(tmp_path: Path) -> None:
    high, low = np.array([7, 7, 7, 9], dtype=np.uint64), np.array([1, 5, 2**63, 0], dtype=np.uint64)
    lengths = np.array([1, 2, 3, 4])
    ids = np.repeat(np.arange(4, dtype=np.int32), lengths)
    write(tmp_path / "a", [made(high[::-1], low[::-1], ids, lengths, lengths)])
    segment = opened(tmp_path / "a", ids.dtype)
    assert segment is not None
    rows = segment.find(np.append(high, np.uint64(7)), np.append(low, np.uint64(6)))
    assert rows.tolist() == [0, 1, 2, 3, -1]
    assert segment.take(rows[:4]).tolist() == [3, 3, 3, 3, 2, 2, 2, 1, 1, 0]


_ADDING = """
import sys
from pathlib import Path
from sentence_transformers import SentenceTransformer
from embertune.engine import tokens
from tests import tiny
model, folder, first, last, chunk = sys.argv[1:]
tokens.CHUNK = int(chunk)
store = tokens.open_store(SentenceTransformer(model, device="cpu", local_files_only=True), Path(folder))
print("ready", flush=True)
sys.stdin.readline()
print(store.add(f"{tiny.question(i)} {i}" for i in range(int(first), int(last))))
"""


def _adder(model: Path, folder: Path, first: int, last: int, chunk: int) -> subprocess.Popen[str]:
    """A process that adds texts `first` to `last` when it is told to go."""
    words = [sys.executable, "-c", _ADDING, str(model), str(folder), str(first), str(last), str(chunk)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(words, text=True, env=environment, **pipes)


def _go(*processes: subprocess.Popen[str]) -> None:
    """Once all are ready, tell all."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def test_two_processes_that_add_the_same_texts_at_once_tokenise_each_once_between_them(
    tiny_model_path: Path, tiny_model: Load, tmp_path: Path
) -> None:
    one, other = (_adder(tiny_model_path, tmp_path, first, first + 2000, 100) for first in (0, 1000))
    with one, other:
        _go(one, other)
        added = [int(process.communicate(timeout=120)[0]) for process in (one, other)]
    assert sum(added) == 3000
    model = tiny_model()
    store = open_store(model, tmp_path)
    assert store is not None
    texts = [f"{tiny.question(i)} {i}" for i in range(3000)]
    assert store.add(texts) == 0
    sample = random.Random(0).sample(texts, 64)
    assert equal(store.features(sample), dict(model.preprocess(sample)))


def test_a_process_killed_while_it_writes_leaves_nothing_half_written(
    tiny_model_path: Path, tiny_model: Load, tmp_path: Path
) -> None:
    with _adder(tiny_model_path, tmp_path, 0, 10**9, 50) as process:
        _go(process)
        until = time.monotonic() + 60
        while len(list(tmp_path.rglob(f"*{ENDING}"))) < 4 and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    (folder,) = tmp_path.iterdir()
    (folder / "left.half").write_bytes(b"as a writer leaves it that was killed")
    assert all(opened(path, np.dtype(np.uint16)) is not None for path in folder.glob(f"*{ENDING}"))
    model = tiny_model()
    store = open_store(model, tmp_path)
    assert store is not None
    texts = [f"{tiny.question(i)} {i}" for i in range(300)]
    assert store.add([*texts, "a new one"]) <= 101
    assert not list(folder.glob("*.half"))
    assert equal(store.features(texts), dict(model.preprocess(texts)))
