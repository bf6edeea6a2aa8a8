"""A random two-layer encoder and toy rows, made here for the tests: no weights and no data come from anywhere else.

The toy rows speak of doing something with a thing. Questions and answers use different words for both (`mend` and
`repair`, `car` and `automobile`), so a random encoder cannot tell which answer belongs to which question and a few
steps of training can teach it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

#: What a question calls it, and what an answer calls it.
VERBS = (
    ("repair", "mend"), ("buy", "purchase"), ("close", "shut"), ("find", "locate"), ("carry", "transport"),
    ("clean", "wash"), ("build", "construct"), ("choose", "select"), ("hide", "conceal"), ("send", "mail"),
    ("lift", "raise"), ("paint", "colour"),
)  # fmt: skip
NOUNS = (
    ("car", "automobile"), ("stone", "rock"), ("house", "home"), ("child", "kid"), ("doctor", "physician"),
    ("shop", "store"), ("street", "road"), ("picture", "image"), ("boat", "ship"), ("dog", "hound"),
    ("sofa", "couch"), ("gift", "present"), ("forest", "wood"), ("garbage", "trash"), ("job", "work"),
    ("lawyer", "attorney"), ("film", "movie"), ("bag", "sack"), ("rug", "carpet"), ("woman", "lady"),
)  # fmt: skip
#: How many different things can be asked; `toy_pairs` and its kin repeat nothing below this.
COMBINATIONS = len(VERBS) * len(NOUNS)

_WORDS = """
a about above after again all also always an and another any are as ask at away back be because been before begin best
better between big black blue book both bring but by call came can cannot city cold come could country cut day did do
does down each early earth eat end even every eye far fast feel few first five follow food for four from full garden
get give glad go good great green ground had half hand hard has have he head hear help her here high him his hold hot
hour how i if in into is it its just keep kind king know land large last late later laugh learn leave left less let
letter life light like line little live long look love made make man many may me mean men might mile mind money more
morning most mother mountain move much music must my name near need never new next night no nobody north not nothing
now number of off often old on once one only open or other our out over own page paper part people place plan plant
play please point quick rain read ready red rest right river room round run said same saw say school sea second see
seem she short should show side simple six size sky sleep slow small so some something song soon sound south stand
start stay still stop story such sun sure table take talk tell ten than that the their them then there these they
thing think this three time to today together too town tree true try turn two under until up us use very voice wait
walk want war warm was watch water way we week well went were west what when where which while white who why will wind
window winter with word world would write year yellow yes yet you young your query passage text question answer title
document
"""
COMMON = _WORDS.split()


def _combination(index: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """The verb and the noun of row `index`: rows `len(VERBS)` apart share the verb only, rows 5 apart nothing."""
    turn, verb = divmod(index % COMBINATIONS, len(VERBS))
    return VERBS[verb], NOUNS[(turn * 7 + verb * 3) % len(NOUNS)]


def _mix(index: int, kinds: int) -> int:
    """Which of `kinds` row `index` is, independent of its verb."""
    return (index + index // len(VERBS)) % kinds


def question(index: int) -> str:
    """A question, in the words of those who ask."""
    verb, noun = _combination(index)
    forms = ("how can i {} the {}", "what must we do to {} a {}", "i want to {} my {}")
    return forms[_mix(index, 3)].format(verb[0], noun[0])


def answer(index: int) -> str:
    """The answer to `question(index)`, in other words; different for every index below `COMBINATIONS`."""
    verb, noun = _combination(index)
    forms = ("you {} every {} before winter", "our people {} this {} for you", "here they {} the old {}")
    return forms[_mix(index, 3)].format(verb[1], noun[1])


def toy_pairs(n: int = 60, start: int = 0) -> Rows:
    """`n` rows of anchor and positive; ranges of `start` that do not overlap share no text."""
    return [{"anchor": question(i), "positive": answer(i)} for i in range(start, start + n)]


def toy_triplets(n: int = 60, start: int = 0) -> Rows:
    """`n` rows of anchor, positive and negative; the negative answers another question."""
    return [row | {"negative": answer(i + 5)} for i, row in enumerate(toy_pairs(n, start), start)]


def toy_nli(n: int = 60, start: int = 0) -> Rows:
    """`n` rows of premise, hypothesis and label (0 entailment, 1 neutral, 2 contradiction), three for each premise."""
    rows: Rows = []
    for i in range(start, start + -(-n // 3)):
        (ask, reply), (thing, other) = _combination(i)
        premise = f"today i {ask} the {thing} with some help"
        rows.append({"premise": premise, "hypothesis": f"i {reply} the {other}", "label": 0})
        rows.append({"premise": premise, "hypothesis": f"a {COMMON[i % 300]} story makes me {reply} it", "label": 1})
        rows.append({"premise": premise, "hypothesis": f"nobody will {reply} a {other}", "label": 2})
    return rows[:n]


def toy_scored(n: int = 60, start: int = 0) -> Rows:
    """`n` rows of sentence1, sentence2 and score: 1.0 the same meaning, 0.5 the same verb only, 0.0 neither."""
    rows: Rows = []
    for i in range(start, start + n):
        partner, score = ((i, 1.0), (i + len(VERBS), 0.5), (i + 5, 0.0))[_mix(i, 3)]
        rows.append({"sentence1": question(i), "sentence2": answer(partner), "score": score})
    return rows


def toy_labelled(n: int = 60, start: int = 0) -> Rows:
    """`n` rows of sentence1, sentence2 and label: 1 the same meaning, 0 another."""
    rows: Rows = []
    for i in range(start, start + n):
        same = _mix(i, 2) == 0
        rows.append({"sentence1": question(i), "sentence2": answer(i if same else i + 5), "label": int(same)})
    return rows


def toy_classes(n: int = 60, start: int = 0, classes: int = 6) -> Rows:
    """`n` rows of text and label, a word; the class is the verb, asked or answered, and every class is as frequent."""
    rows: Rows = []
    for i in range(start, start + n):
        kind, row = i % classes, i // classes
        thing = NOUNS[row % len(NOUNS)]
        templates = (f"how can i {VERBS[kind][0]} the {thing[0]}", f"they {VERBS[kind][1]} my {thing[1]} now")
        rows.append({"text": templates[(row + row // len(NOUNS)) % 2], "label": VERBS[kind][0]})
    return rows


def toy_beir(folder: Path, queries: int = 60, test: int = 20, distractors: int = 20) -> Path:
    """Write a BEIR folder: `queries` questions with one relevant document each, the last `test` of them in test.tsv."""
    documents = [answer(i) for i in range(queries + distractors)]
    write_jsonl(folder / "corpus.jsonl", ({"_id": f"d{i}", "title": "", "text": t} for i, t in enumerate(documents)))
    write_jsonl(folder / "queries.jsonl", ({"_id": f"q{i}", "text": question(i)} for i in range(queries)))
    for name, span in {"train": range(queries - test), "test": range(queries - test, queries)}.items():
        lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in span)]
        (folder / "qrels").mkdir(exist_ok=True)
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON Lines (parents are made) and give the path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    """Write rows as CSV (or TSV, by `delimiter`) with a header and give the path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def vocabulary(specials: tuple[str, ...]) -> list[str]:
    """Special tokens, single characters (alone and inside a word), and whole words; no duplicates."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    inside = [f"##{character}" for character in characters if character.isalnum()]
    words = [word for group in (*VERBS, *NOUNS) for word in group] + COMMON
    return list(dict.fromkeys((*specials, *characters, *inside, *words)))


def make_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a random two-layer BERT and its WordPiece tokenizer as a bare transformers checkpoint."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=64)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,  # with the usual 0.02 all texts of a random encoder lie on one spot
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_mpnet(folder: Path, seed: int = 0) -> Path:
    """Write a random two-layer MPNet, whose attention has no interface, as a bare transformers checkpoint."""
    import torch
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

    words = vocabulary(("<s>", "<pad>", "</s>", "[UNK]", "<mask>"))
    tokenizer = MPNetTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=62)
    config = MPNetConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MPNetModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_model(encoder: Path, folder: Path) -> Path:
    """Write the Sentence Transformer made of the checkpoint `encoder` and mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    backbone = Transformer(str(encoder))
    pooling = Pooling(backbone.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[backbone, pooling], device="cpu").save(str(folder), create_model_card=False)
    return folder
