"""A model onto disk, whole or not at all, as a plain Sentence Transformer that needs nothing of ours to be loaded."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

from embertune.errors import RunFolderError
from embertune.model.quiet import quiet


def save(model: SentenceTransformer, folder: Path, *, card: str) -> None:
    """Write `model` to `folder` with `card` as its README.md; weights as safetensors.

    What is written appears under its name only when it is complete and on the disk. A model that was there before is
    replaced; anything else that was there, or a disk without space, is a RunFolderError.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - absolute, but with links kept as the user wrote them
    if folder.exists() and not _replaceable(folder):
        raise RunFolderError(str(folder), "there is something else than a model", "name another folder")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        _write(model, partial, card)
        _publish(partial, folder)
    except OSError as error:
        raise RunFolderError(str(folder), _why(error), "free some space or name another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / "modules.json").is_file() or not any(folder.iterdir()))


def _write(model: SentenceTransformer, partial: Path, card: str) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with quiet(), told_by_the_system():
        model.save(str(partial), create_model_card=False, safe_serialization=True)
    (partial / "README.md").write_text(card, encoding="utf-8")
    for path in (*partial.rglob("*"), partial):
        _flush(path)


@contextmanager
def told_by_the_system() -> Iterator[None]:
    """Inside, what the system says to safetensors, a full disk above all, is the OSError that it is elsewhere."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise (OSError(int(number[1]), str(error)) if number else error) from None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(partial: Path, folder: Path) -> None:
    """Give a complete folder its name; an older one is moved aside first and removed afterwards."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _why(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "there is no space left" if full else f"the model cannot be written: {error.strerror or error}"


def fingerprint(model: SentenceTransformer) -> str:
    """sha256 over names, types, shapes and bytes of all weights, by name; equal if and only if the weights are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
