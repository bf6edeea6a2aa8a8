"""Data sets from the Hugging Face Hub, through the host's loader and its cache."""

from __future__ import annotations

from datasets import Dataset, DatasetDict, load_dataset

from embertune.data.spec import SPLIT_WORDS, Spec, canonical_split
from embertune.data.store import check_room, quiet
from embertune.errors import DataError


def read_hub(spec: Spec) -> dict[str, Dataset]:
    """The splits of a Hub data set, or the one asked for. Raises DataError for what Hub or network refuse."""
    names = [spec.split] if spec.split in (None, "train") else _spellings(str(spec.split))
    failure: Exception | None = None
    for name in names:
        try:
            with quiet():
                loaded = load_dataset(spec.place, spec.config, split=name)
        except ValueError as error:  # an unknown split, or a configuration that is missing or unknown
            failure = failure or error
        except Exception as error:
            check_room(error)
            raise _refused(spec, error) from None
        else:
            return _splits(loaded, spec.split)
    raise _refused(spec, failure or ValueError("no split"))


def _spellings(split: str) -> list[str]:
    """The Hub keeps its authors' words, so `dev` may be `validation` there."""
    return [split, *(word for word, canonical in SPLIT_WORDS.items() if canonical == split and word != split)]


def _splits(loaded: Dataset | DatasetDict, split: str | None) -> dict[str, Dataset]:
    if isinstance(loaded, DatasetDict):
        return {canonical_split(str(name)): rows for name, rows in loaded.items()}
    return {split or "train": loaded}


def _refused(spec: Spec, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
    if isinstance(error, ValueError):
        return DataError(
            spec.text, f"the data set is there but not so: {reason}", "write id:config@split with names it has"
        )
    remedy = (
        "check the name; without network, download it elsewhere (`hf download --repo-type dataset "
        f"{spec.place}`), copy the folder here and name its path, or fill the cache on a machine that has network"
    )
    return DataError(spec.text, f"no file or folder of that name, and the Hub did not give it: {reason}", remedy)
