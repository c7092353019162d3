"""The flags that experiments have in common."""

from __future__ import annotations

import pytest

from tests.test_flags import FILE
from tl_jax.completion import ConfigError
from tl_jax.lab import command


def test_flags(tmp_path):
    file = tmp_path / "my.py"
    file.write_text(FILE)
    base = ["seeds", f"--config={file}"]
    given = command.parse(base, lambda values: None, suffix="").flags
    assert (given.engine, given.address, given.cpus, given.gpus, given.memory) == ("local", "", None, 0, None)
    flags = ["--engine=ray", "--address=auto", "--cpus=2", "--gpus=1", "--memory=1000"]
    given = command.parse([*base, *flags], lambda values: None, suffix="").flags
    assert (given.engine, given.address, given.cpus, given.gpus, given.memory) == ("ray", "auto", 2, 1, 1000)
    with pytest.raises(ConfigError) as caught:
        command.parse([*base, "--cpus=2", "--address="], lambda values: None, suffix="")
    assert [line.partition(":")[0] for line in caught.value.problems] == ["--address", "--cpus"]
