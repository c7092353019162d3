"""From a name to a local folder: hub id, folder, workdir of an earlier run, or ``"embedded"``.

Only weights in safe formats and the JSON files beside them are ever fetched. Pickles and code are not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.files import (
    CONFIG,
    INDEX,
    MSGPACK,
    PICKLES,
    PREPROCESSOR,
    SAFETENSORS,
    shards,
    weight_files,
)
from tl_jax.pretrained.tokenizer import COMPANIONS, TOKENIZER

EMBEDDED = "embedded"
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^@\s]+))?")
_SNAPSHOT = re.compile(r"models--(.+)/snapshots/([0-9a-f]{12})[0-9a-f]*")


@dataclass(frozen=True)
class Located:
    """A local folder in Hugging Face layout, and where it came from, for people to read."""

    folder: Path
    source: str


def locate(
    name: str | os.PathLike[str], *, cache_dir: str | os.PathLike[str] | None = None, offline: bool = False
) -> Located:
    """Finds the folder that a name stands for, and downloads it first if need be.

    Args:
      name: a folder, the workdir of an earlier run (its ``model/`` is meant), ``"embedded"``, or a hub
        id with an optional revision (branch, tag or commit): ``"microsoft/resnet-50@main"``. A folder
        of that name comes first.
      cache_dir: where downloads are kept; None means the hub client's own (``HF_HOME``).
      offline: use what is in the cache and touch no network.

    Raises:
      PretrainedError: no such folder, repository or revision; no network; nothing usable in it.
    """
    text = os.fspath(name)
    if text == EMBEDDED:
        return Located(Path(__file__).parent / EMBEDDED, EMBEDDED)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return _local(folder)
    if folder.is_file():
        raise PretrainedError(f"{text} is a file: give the folder it lies in, with its {CONFIG}")
    match = _HUB_ID.fullmatch(text)
    if not match:
        raise PretrainedError(
            f"no such folder: {text!r} (in {Path.cwd()}); nor is it a hub id, such as microsoft/resnet-50 "
            "or microsoft/resnet-50@main"
        )
    repo = _Repo(match["repo"], match["revision"], cache_dir, offline)
    return Located(repo.fetch(), repo.label)


def _local(folder: Path) -> Located:
    """A folder as it is, or the ``model/`` of a run's workdir."""
    if (folder / "model" / CONFIG).is_file():
        folder = folder / "model"
    elif (folder / "checkpoints").is_dir() and not weight_files(folder):
        raise PretrainedError(
            f"{folder} is the workdir of a run that has not finished: there is no model/ in it. Run its "
            "command again, to the end, or name other weights"
        )
    match = _SNAPSHOT.search(folder.resolve().as_posix())
    return Located(folder, f"{match[1].replace('--', '/')}@{match[2]}" if match else str(folder))


def _path(value: str | os.PathLike[str] | None) -> Path | None:
    return None if value is None else Path(value).expanduser()


@dataclass
class _Repo:
    """One repository of the hub, at one revision."""

    name: str
    revision: str | None
    cache_dir: str | os.PathLike[str] | None
    offline: bool

    @property
    def label(self) -> str:
        return f"{self.name}@{self.revision[:12]}" if self.revision else self.name

    def fetch(self) -> Path:
        """The snapshot folder; afterwards ``revision`` is the commit it was taken at."""
        from huggingface_hub import constants

        self.offline = self.offline or constants.HF_HUB_OFFLINE
        config = self._file(CONFIG)
        if config is None:
            raise PretrainedError(
                f"{self.label} on {self._endpoint} has no {CONFIG}: not a model in Hugging Face layout"
            )
        folder = config.parent
        self.revision = folder.name
        if self.offline:
            if not any((folder / name).is_file() for name in (SAFETENSORS, INDEX, MSGPACK)):
                raise PretrainedError(
                    f"the cache holds {self.label} without its weights ({folder}): run once with a network "
                    "and offline off"
                )
            return folder
        for name in (PREPROCESSOR, TOKENIZER, *COMPANIONS):
            self._file(name)
        if self._file(SAFETENSORS) is None:
            if (index := self._file(INDEX)) is not None:
                for name in shards(index):
                    self._file(name)
            elif self._file(MSGPACK) is None:
                raise self._without_weights()
        return folder

    @property
    def _endpoint(self) -> str:
        from huggingface_hub import constants

        return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT

    def _file(self, name: str) -> Path | None:
        """One file in the cache, downloaded if need be; None if the repository has none such."""
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        if len(self.revision or "") == 40:  # a commit never changes
            known = try_to_load_from_cache(
                self.name, name, revision=self.revision, cache_dir=_path(self.cache_dir)
            )
            if known is not None:
                return Path(known) if isinstance(known, str) else None
        return self._explained(
            name,
            lambda: hf_hub_download(
                self.name,
                name,
                revision=self.revision,
                cache_dir=_path(self.cache_dir),
                endpoint=self._endpoint,
                local_files_only=self.offline,
            ),
        )

    def _explained(self, name: str, download: Callable[[], str]) -> Path | None:
        """Runs a download; the client's many errors become one that says what to do."""
        from huggingface_hub import errors

        try:
            return Path(download())
        except errors.LocalEntryNotFoundError as error:
            cache = self.cache_dir or "the hub client's cache"
            if self.offline:
                raise PretrainedError(
                    f"{self.label}: {name} is not in {cache}, and offline is on: run once with a network, "
                    "or name a local folder"
                ) from error
            raise PretrainedError(
                f"{self.label}: {name} could not be fetched from {self._endpoint} and is not in {cache}: "
                f"check the network ({error.__cause__ or error}), or name a local folder"
            ) from error
        except errors.EntryNotFoundError:
            return None
        except errors.RevisionNotFoundError as error:
            raise PretrainedError(
                f"{self.name} on {self._endpoint} has no revision {self.revision!r}: give a branch, tag or "
                "commit after the @, or none for the main branch"
            ) from error
        except errors.GatedRepoError as error:
            raise PretrainedError(
                f"{self.name} is gated: accept its terms on {self._endpoint}/{self.name}, then log in with "
                "`hf auth login`"
            ) from error
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise PretrainedError(
                f"{self.name!r} is neither a folder (in {Path.cwd()}) nor a public repository on "
                f"{self._endpoint}: check the spelling; for a private one log in with `hf auth login`"
            ) from error
        except (
            Exception
        ) as error:  # the client lets its HTTP library's errors through, which differ by version
            raise PretrainedError(
                f"{self.label}: fetching {name} from {self._endpoint} failed: {type(error).__name__}: "
                f"{error}. Run again: finished files are kept"
            ) from error

    def _without_weights(self) -> PretrainedError:
        """The error for a repository whose files are of no use here."""
        from huggingface_hub import HfApi

        try:
            files = HfApi(endpoint=self._endpoint).list_repo_files(self.name, revision=self.revision)
        except Exception:  # the list is only for the message
            files = []
        return no_weights(self.label, files, repo=self.name)


def no_weights(where: str, files: list[str], *, repo: str = "") -> PretrainedError:
    """The error for a place without weights in a safe format, and the way out if there are pickles."""
    pickles = [name for name in files if name.endswith(PICKLES)]
    if not pickles:
        listing = ", ".join(sorted(files)[:20]) or "nothing"
        return PretrainedError(
            f"{where} holds no weights: {SAFETENSORS}, {INDEX} with its shards, or {MSGPACK} is needed; "
            f"there is {listing}"
        )
    hint = (
        f", or try the revision refs/pr/1 of {repo}: the hub often opened a conversion there" if repo else ""
    )
    return PretrainedError(
        f"{where} holds pickles only ({', '.join(pickles)}), which run code when opened and are never "
        'read here. Convert them once where torch is installed: python -c "from transformers import AutoModel'
        f"ForImageClassification as M; M.from_pretrained('{repo or where}').save_pretrained('converted')\", "
        f"then name that folder{hint}"
    )
