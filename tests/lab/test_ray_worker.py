"""What a machine must have in common with the one where the command runs, and what a worker sends back."""

from __future__ import annotations

import pickle

import pytest

from tests import tiny
from tl_jax.completion import ConfigError
from tl_jax.config import complete
from tl_jax.lab import ray_worker
from tl_jax.workdir import Workdir


@pytest.fixture
def there(tmp_path):
    """What a machine is asked that differs in nothing; the folder is locked."""
    (tmp_path / ray_worker.TOKEN).write_text("abc")
    with Workdir(tmp_path).locked():
        yield ray_worker.here(tmp_path, "abc", {})


def test_a_machine_that_differs_in_nothing(there):
    assert ray_worker.problems(**there) == []


def test_everything_in_which_a_machine_differs_is_told(there, tmp_path):
    there["theirs"]["tl_jax"] = "0+other"
    there |= dict(token="xyz", cwd=str(tmp_path / "none"), named_functions={"no_such_module:read": "/none"})
    code, cwd, folder, function = ray_worker.problems(**there)
    assert code.endswith("and not 0+other, as where the command runs")
    assert str(tmp_path / "none") in cwd
    assert folder.startswith(f"{tmp_path} is another folder")
    assert "no_such_module" in function
    (tmp_path / ray_worker.TOKEN).unlink()
    assert "is not the folder" in ray_worker.problems(**there)[2]


def test_a_folder_whose_locks_are_not_seen_is_refused(tmp_path):
    (tmp_path / ray_worker.TOKEN).write_text("abc")
    (problem,) = ray_worker.problems(**ray_worker.here(tmp_path, "abc", {}))
    assert "locks (flock) in it are not" in problem


def test_functions_go_by_name(tmp_path, monkeypatch):
    (tmp_path / "sources_of_mine.py").write_text("def read(data):\n    raise RuntimeError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import sources_of_mine

    base = tiny.config(tmp_path, stages=[dict(train="all", duration="3 steps")])
    data = base["data"]
    for source in (sources_of_mine.read, "sources_of_mine:read"):
        named = complete({**base, "data": {**data, "source": source}})
        assert ray_worker.functions([named]) == {"sources_of_mine:read": str(tmp_path)}
    assert ray_worker.functions([complete(base)]) == {}
    wrong = [{**base, "data": {**data, "source": source}} for source in (lambda d: d, "no_such_module:read")]
    with pytest.raises(
        ValueError, match=r"(?s)data.source is a function that other.*no_such_module"
    ) as caught:
        ray_worker.functions(map(complete, wrong))
    assert len(str(caught.value).splitlines()) == 2


def test_errors_travel():
    kept = pickle.loads(pickle.dumps(ray_worker._portable(FloatingPointError("a"), "in line 3")))
    assert isinstance(kept, FloatingPointError)
    assert kept.__notes__ == ["in line 3"]
    for error in (ConfigError([], "here"), _local_error()):
        sent = ray_worker._portable(error, "")
        assert type(sent) is RuntimeError
        assert str(sent) == f"{type(error).__name__}: {error}"


def _local_error() -> Exception:
    class LocalError(ValueError):
        pass

    return LocalError("of a class that nobody can import")
