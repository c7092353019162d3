"""Config files: anywhere on disk, with or without an argument, and what is said when they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tl_jax import config_file
from tl_jax.completion import ConfigError


@pytest.fixture(autouse=True)
def _own_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


RAISES = "def get_config():\n    return helper()\ndef helper():\n    raise KeyError('oops')\n"


def write(folder: Path, text: str, name: str = "my.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize(
    ("text", "path", "argument"),
    [
        ("a/my.py", "a/my.py", None),
        ("a/my.py:", "a/my.py", ""),
        ("a/my.py:x:y.py", "a/my.py", "x:y.py"),
        ("a:b/my.py:x", "a:b/my.py", "x"),
        ("my:x", "my", "x"),
        ("my", "my", None),
    ],
)
def test_split(text: str, path: str, argument: str | None) -> None:
    assert config_file.split(text) == (Path(path), argument)


@pytest.mark.parametrize(
    ("signature", "suffix", "expected"),
    [
        ("arg='none'", "", "none"),
        ("arg='none'", ":", ""),
        ("arg='none'", ":x", "x"),
        ("arg", "", ""),
        ("arg", ":x", "x"),
        ("*args", ":x", "('x',)"),
        ("", "", "nothing"),
        ("", ":", "nothing"),
    ],
)
def test_the_argument_reaches_get_config(tmp_path: Path, signature: str, suffix: str, expected: str) -> None:
    value = "str(args)" if "*" in signature else "arg" if signature else "'nothing'"
    path = write(tmp_path, f"def get_config({signature}):\n    return dict(found={value})\n")
    assert config_file.load(path + suffix) == {"found": expected}


def test_modules_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "SEED = 7\n", "beside_the_config.py")
    path = write(
        tmp_path,
        "import beside_the_config\ndef get_config():\n    return dict(seed=beside_the_config.SEED)\n",
    )
    assert config_file.load(path) == {"seed": 7}


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    assert config_file.load(write(tmp_path, "def get_config():\n    return dict(a=1)\n")) == {"a": 1}
    assert config_file.load(write(tmp_path, "def get_config():\n    return dict(a=2)\n")) == {"a": 2}


@pytest.mark.parametrize(
    ("text", "suffix", "words"),
    [
        (RAISES, "", ("line 4, in helper", "KeyError: 'oops'")),
        ("def get_config(:\n", "", ("my.py", "line 1", "SyntaxError")),
        ("import nowhere_to_be_found\n", "", ("line 1", "ModuleNotFoundError")),
        ("def get_confg():\n    pass\n", "", ("no function get_config", "did you mean get_confg?")),
        ("def get_config():\n    return dict()\n", ":x", ("takes no argument", "'x'")),
        ("def get_config():\n    dict()\n", "", ("returned None", "return missing")),
        ("def get_config():\n    return 3\n", "", ("returned 3 (int)",)),
        ("def get_config(a, b):\n    return 3\n", "", ("TypeError",)),
    ],
)  # fmt: skip
def test_a_file_that_fails_says_where(tmp_path: Path, text: str, suffix: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        config_file.load(write(tmp_path, text) + suffix)
    for word in words:
        assert word in str(caught.value)
    assert "config_file.py" not in str(caught.value)


def test_a_missing_file_names_what_is_near(tmp_path: Path) -> None:
    write(tmp_path, "", "xray.py")
    write(tmp_path, "", "other.py")
    with pytest.raises(ConfigError, match=r"near it: \S*/xray.py(,|$)"):
        config_file.load(str(tmp_path / "xry.py:vit"))
    with pytest.raises(ConfigError, match=r"is a folder; name a file in it: \S*other.py, \S*xray.py"):
        config_file.load(str(tmp_path))
    with pytest.raises(ConfigError, match=rf"what exists of it: {tmp_path}\)"):
        config_file.load(str(tmp_path / "a" / "b" / "xray.py"))
