"""A text as words, which of them must stay as they are, and two changes: words left out, neighbours swapped."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: A number in [0, 1) for each word.
Chances = Sequence[float]


def listed(words: str) -> frozenset[str]:
    """A text of words as a set of them."""
    return frozenset(words.split())


#: Words that turn a statement round; also every word that ends in n't. In the languages whose words stand apart most.
NEGATIONS = listed(
    """
    no not never none nobody nothing nowhere neither nor without cannot hardly barely scarcely rarely seldom non n't
    unless except isnt arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt shouldnt hasnt havent hadnt aint
    unable fail fails failed failing lack lacks lacked lacking refuse refuses refused deny denies denied only
    nicht kein keine keinen keinem keiner keines nie niemals niemand nichts ohne weder noch
    ne pas jamais sans rien aucun aucune personne ni
    nunca jamás sin nada nadie ningún ninguna ninguno tampoco mai senza niente nessun nessuno nessuna
    niet geen nooit zonder niemand niets não nem sem nenhum nenhuma ninguém
    """
)

#: Numbers in words; what holds a digit is a number too.
NUMBERS = listed(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million
    millions billion billions dozen dozens half quarter third once twice first second both
    """
)

#: Words without which a sentence says the same, if less well: all that may be left out where texts are compared.
EMPTY = listed(
    """
    a an the this that these those is are was were be been being am do does did has have had please just really very
    quite actually basically also too so then well here there of
    """
)

#: Words that hold a sentence together; they have no synonyms, and are no names where they begin a sentence.
FUNCTION = EMPTY | listed(
    """
    i you he she it we they me him her us them my your his its our their mine yours hers ours theirs myself yourself
    himself herself itself ourselves themselves who whom whose which what when where why how if whether because since
    while although though as than and or but yet for in on at by to from with within into onto upon over under above
    below between among through during before after about against across along around behind beside beyond near off
    out up down toward towards until till via per will would shall should can could may might must ought need going
    get got getting having doing done let lets now any some all each every either another other others such same own
    more most much many few less least lot lots ever even still again already yes ok okay hi hello dear thanks
    i'm i've i'd i'll you're you've you'll it's he's she's we're we've they're they've that's there's what's who's how's
    """
)

#: Writing without spaces between words: first and last code point of each block.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals of Chinese characters
    (0x3005, 0x30FF),  # Japanese syllables
    (0x31F0, 0x4DBF),
    (0x4E00, 0x9FFF),  # Chinese characters
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
)
_ENDS = ".!?…。"
_CLOSING = ")]}\"'”’»"


@dataclass(frozen=True, slots=True)
class Word:
    """A word (`core`) between what stands `before` it (white space, opening punctuation) and `after` it.

    A `fixed` word must stay as it is, where it is: a number, a negation and the word behind it, a name. An `opening`
    word begins a sentence with a capital, so it may be a name.
    """

    before: str
    core: str
    after: str
    fixed: bool = False
    opening: bool = False

    @property
    def plain(self) -> str:
        """The word in lower case, with a straight apostrophe."""
        return self.core.lower().replace("’", "'")


@functools.lru_cache(maxsize=2**12)
def words_of(text: str) -> tuple[Word, ...]:
    """The words of a text, which `text_of` puts together to the same text."""
    parts: list[Word] = []
    end = 0
    for start, stop in _tokens(text):
        first, last = start, stop
        while first < stop and _is_mark(text[first]):
            first += 1
        while last > first and _is_mark(text[last - 1]):
            last -= 1
        parts.append(Word(text[end:first], text[first:last], text[last:stop]))
        end = stop
    if parts and end < len(text):
        parts[-1] = replace(parts[-1], after=parts[-1].after + text[end:])
    return tuple(_judged(parts))


def text_of(words: Sequence[Word]) -> str:
    """The words put together."""
    return "".join(word.before + word.core + word.after for word in words)


def _tokens(text: str) -> list[tuple[int, int]]:
    found, start = [], 0
    for token in text.split():
        start = text.index(token, start)
        found.append((start, start + len(token)))
        start += len(token)
    return found


def _is_mark(character: str) -> bool:
    """Whether this is punctuation or a symbol, and no part of a word."""
    if character.isascii():
        return not character.isalnum()
    return unicodedata.category(character)[0] in "PS"


@functools.lru_cache(maxsize=2**17)
def is_number(core: str) -> bool:
    """Whether a word is a number, or holds one."""
    return any(part in NUMBERS for part in core.lower().split("-")) or any(c.isnumeric() for c in core)


def is_negation(core: str) -> bool:
    """Whether a word turns what is said round: `not`, `isn't`, `non-smoker`."""
    plain = core.lower().replace("’", "'")
    return plain.endswith("n't") or any(part in NEGATIONS for part in plain.split("-"))


@functools.lru_cache(maxsize=2**17)
def _facts(core: str) -> tuple[bool, bool, bool]:
    """Of a word by itself: whether it negates, whether it has capitals, whether only the first letter is one."""
    negates = is_negation(core)
    capital = not core.islower() and any(c.isupper() for c in core) and not _is_i(core)
    titled = capital and core[:1].isupper() and not any(c.isupper() for c in core[1:])
    return negates, capital, titled


def _judged(words: Sequence[Word]) -> list[Word]:
    """The words with `fixed` and `opening` found out."""
    found: list[Word] = []
    starts, negated = True, False
    for word in words:
        core, after = word.core, word.after
        negates, capital, titled = _facts(core)
        opening = starts and (titled or _is_i(core))
        name = capital and not opening
        fixed = not core or negates or negated or name or is_number(core)
        found.append(Word(word.before, core, after, fixed, opening))
        negated = (negates if core else negated) and not after.strip()
        starts = _ends_sentence(word) if core or after else starts
    return found


def _is_i(core: str) -> bool:
    return core == "I" or core[:2] in ("I'", "I’")


def _ends_sentence(word: Word) -> bool:
    """Whether a new sentence begins behind a word: not behind `Mr.` or `J.`, which stand before names."""
    if not word.after:
        return False
    short = word.core[:1].isupper() and len(word.core) <= 4
    return any(mark in word.after for mark in _ENDS) and not (short and word.after.startswith("."))


def is_unspaced(text: str) -> bool:
    """Whether at least half of the letters of a text are of a script that puts no spaces between words."""
    if text.isascii():
        return False
    letters = [ord(c) for c in text if c.isalpha()]
    without = sum(any(first <= code <= last for first, last in _UNSPACED) for code in letters)
    return without > 0 and 2 * without >= len(letters)


def drawn(eligible: Sequence[int], chances: Chances, rate: float) -> list[int]:
    """The eligible places whose chance is below the rate, and at least one; the least chance comes first."""
    ranked = sorted(eligible, key=lambda place: chances[place])
    count = sum(chances[place] < rate for place in ranked)
    return ranked[: max(1, count)]


def deleted(words: Sequence[Word], chances: Chances, rate: float, *, only_empty: bool) -> list[Word]:
    """The words without some of them: each that may go does so with the chance `rate`, at least one, never all.

    With `only_empty` no other words than those of EMPTY may go. `chances` (len(words),) are in [0, 1). The mark that
    ends a sentence stays when its word goes, and so does the capital that begins one.
    """
    may_go = [place for place, word in enumerate(words) if _may_go(word, only_empty)]
    left = sum(bool(word.core) for word in words)
    gone = set(drawn(may_go, chances, rate)[: left - 1])
    kept: list[Word] = []
    capital = False
    for place, word in enumerate(words):
        if place in gone:
            capital = capital or word.opening
            if kept:
                kept[-1] = replace(kept[-1], after=_joined(kept[-1].after, word.after))
            continue
        found = word if kept else replace(word, before=words[0].before + word.before.lstrip())
        kept.append(replace(found, core=_with_capital(word.core)) if capital else found)
        capital = False
    return kept


def _may_go(word: Word, only_empty: bool) -> bool:
    if word.fixed or word.before.strip():
        return False
    if only_empty:
        return word.plain in EMPTY
    return not word.opening or word.plain in FUNCTION


def _joined(after: str, more: str) -> str:
    """The marks behind a word when those of the next, which is gone, come to it."""
    stays = "".join(mark for mark in more if mark in _ENDS or mark in _CLOSING or mark.isspace())
    return after if not stays or after.endswith(stays) else after.rstrip(",;:") + stays


def _with_capital(core: str) -> str:
    return core[:1].upper() + core[1:] if core.islower() else core


def swapped(words: Sequence[Word], chances: Chances, rate: float) -> list[Word]:
    """The words with some neighbours in each other's place: each pair with the chance `rate`, at least one.

    No word moves by more than one place, none across punctuation, and a capital that begins a sentence stays in front.
    """
    found = list(words)
    moved: set[int] = set()
    for place in drawn([i for i in range(len(words) - 1) if _may_swap(words[i], words[i + 1])], chances, rate):
        if moved.isdisjoint((place, place + 1)):
            moved |= {place, place + 1}
            left, right = words[place].core, words[place + 1].core
            if words[place].opening:
                left, right = left if _is_i(left) else left.lower(), _with_capital(right)
            found[place] = replace(words[place], core=right)
            found[place + 1] = replace(words[place + 1], core=left)
    return found


def _may_swap(left: Word, right: Word) -> bool:
    if left.fixed or right.fixed or left.after.strip() or right.before.strip():
        return False
    return left.plain != right.plain and (not left.opening or left.plain in FUNCTION)
