"""Words replaced by synonyms in the same form: number, tense and degree are kept, and so are capitals. English."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from embertune.data.thesaurus import ADJECTIVE, ADVERB, NOUN, VERB, Thesaurus
from embertune.data.words import FUNCTION, Chances, Word, drawn, is_negation, is_number, listed

_POS = {"NOUN": NOUN, "VERB": VERB, "ADJ": ADJECTIVE, "ADV": ADVERB}
#: Behind these a word that may be a noun is one, or an adjective before one.
_BEFORE_NOUN = listed("a an the my your his her its our their this that these those some any each every")
#: Behind these a word that may be a verb is one.
_BEFORE_VERB = listed("i you we they he she it will would can could shall should may might must please")
#: Behind these a past form is a participle.
_BEFORE_PARTICIPLE = listed(
    "have has had having been be being is was were are am i've you've we've they've been get gets got"
)
_VOWELS = "aeiou"
#: A word with more synonyms than this has several meanings, of which nothing tells the right one; it is left alone.
MOST_SYNONYMS = 7


def replaced(words: Sequence[Word], chances: Chances, picks: Chances, rate: float, thesaurus: Thesaurus) -> list[Word]:
    """The words with some in other words: each that has synonyms is replaced with the chance `rate`, at least one.

    `chances` (len(words),) in [0, 1) decide which, `picks` by which synonym. A word is left alone where its part of
    speech, and so its meaning, cannot be told from the words beside it.
    """
    choices = {place: found for place in range(len(words)) if (found := candidates(words, place, thesaurus))}
    made = list(words)
    for place in drawn(list(choices), chances, rate):
        options = choices[place]
        chosen = options[int(picks[place] * len(options))]
        word = words[place]
        core = chosen[:1].upper() + chosen[1:] if word.core[:1].isupper() else chosen
        made[place] = replace(word, core=core)
    return made


def candidates(words: Sequence[Word], place: int, thesaurus: Thesaurus) -> tuple[str, ...]:
    """What may stand for the word at `place`, in its form, in the order of the thesaurus; empty where nothing may."""
    word = words[place]
    if word.fixed or word.plain in FUNCTION:
        return ()
    before = words[place - 1].plain if place and not words[place - 1].after.strip() else ""
    behind = words[place + 1].plain if place + 1 < len(words) and not word.after.strip() else ""
    found = _in_form(word.plain, before, behind, thesaurus)
    if before in ("a", "an"):
        found = tuple(one for one in found if (one[0] in _VOWELS) == (word.plain[0] in _VOWELS))
    return found


def _in_form(word: str, before: str, behind: str, thesaurus: Thesaurus) -> tuple[str, ...]:
    readings = _lemmas(word)
    if not readings:  # no word of the dictionary: a term of the user's own, in the form in which it is listed
        pos = next((pos for pos in _POS.values() if thesaurus.find(word, pos)), "")
        return tuple(_plain_ones(word, pos, thesaurus))
    upos = _part_of_speech(word, readings, before, behind)
    if upos is None or len(readings[upos]) > 1:
        return ()
    lemma = readings[upos][0]
    tag = _tag(word, lemma, upos, before)
    known = _plain_ones(lemma, _POS[upos], thesaurus) if tag else ()
    formed = (_form(one, upos, tag) for one in known)
    return tuple(dict.fromkeys(one for one in formed if one and one != word))


def _plain_ones(lemma: str, pos: str, thesaurus: Thesaurus) -> Iterator[str]:
    """The synonyms that may be used; none where lemma or synonym has too many meanings."""
    known = thesaurus.find(lemma, pos)
    if len(lemma) < 2 or len(known) > MOST_SYNONYMS:
        return
    for one in known:
        if _is_usable(one, lemma) and len(thesaurus.find(one, pos)) <= MOST_SYNONYMS:
            yield one


def _is_usable(synonym: str, lemma: str) -> bool:
    """Whether a synonym is one plain word: no name, no number, nothing that turns the meaning round."""
    plain = synonym.islower() and synonym.replace("-", "").isalpha() and synonym != lemma
    return plain and synonym not in FUNCTION and not is_negation(synonym) and not is_number(synonym)


def _part_of_speech(word: str, readings: Mapping[str, tuple[str, ...]], before: str, behind: str) -> str | None:
    """What a word is here, as far as its neighbours tell; None where they do not."""
    if len(readings) == 1:
        return next(iter(readings))
    participle = before in _BEFORE_PARTICIPLE and word.endswith(("ing", "ed"))
    if "VERB" in readings and (before in _BEFORE_VERB or participle):
        return "VERB"
    if before in _BEFORE_NOUN:
        if behind and behind not in FUNCTION and "ADJ" in readings:
            return "ADJ" if "NOUN" in _lemmas(behind) else None
        return "NOUN" if "NOUN" in readings else None
    return None


def _tag(word: str, lemma: str, upos: str, before: str) -> str | None:
    """The form in which a word stands, by its tag in the Penn Treebank; None where it is none of the lemma's."""
    tags = [tag for tag, forms in _forms(lemma, upos).items() if word in forms]
    if upos == "VERB" and {"VBD", "VBN"} & set(tags):
        regular = "VBN" not in _forms(lemma, upos) or len({"VBD", "VBN"} & set(tags)) == 2
        if regular:
            return "VBN" if before in _BEFORE_PARTICIPLE else "VBD"
    for tag in ("NN", "VB", "JJ", "RB", *tags):
        if tag in tags:
            return tag
    return None


def _form(lemma: str, upos: str, tag: str | None) -> str | None:
    """A lemma in the form of a tag; None for one that the dictionary does not know."""
    forms = _forms(lemma, upos)
    found = forms.get(tag or "") or (forms.get("VBD") if tag == "VBN" else None)
    return found[0] if found else None


def _dictionary() -> Any:
    import lemminflect

    return lemminflect


@functools.lru_cache(maxsize=2**17)
def _lemmas(word: str) -> dict[str, tuple[str, ...]]:
    """The lemmas of a word by part of speech, those with synonyms only; empty where the dictionary has none."""
    return {upos: tuple(lemmas) for upos, lemmas in _dictionary().getAllLemmas(word).items() if upos in _POS}


@functools.lru_cache(maxsize=2**17)
def _forms(lemma: str, upos: str) -> dict[str, tuple[str, ...]]:
    """The forms of a lemma by tag."""
    call: Callable[..., dict[str, tuple[str, ...]]] = _dictionary().getAllInflections
    return call(lemma, upos=upos)
