"""What glibc is told before a command starts."""

import os
import subprocess
import sys

import pytest

from tl_jax import memory


def test_nothing_is_wanted_twice_or_where_the_user_has_said_something(monkeypatch):
    monkeypatch.delenv(memory.SWITCH, raising=False)
    for present in ("glibc.malloc.arena_max=2", "a=b:glibc.malloc.hugetlb=0"):
        monkeypatch.setenv("GLIBC_TUNABLES", present)
        assert memory.wanted() == {}
    monkeypatch.delenv("GLIBC_TUNABLES")
    monkeypatch.setenv(memory.SWITCH, "0")
    assert memory.wanted() == {}


@pytest.mark.skipif(memory._glibc() < (2, 35), reason="glibc 2.35 or newer reads these tunables")
def test_other_tunables_stay(monkeypatch):
    monkeypatch.delenv(memory.SWITCH, raising=False)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.rtld.nns=8")
    first, *ours = memory.wanted()["GLIBC_TUNABLES"].split(":")
    assert first == "glibc.rtld.nns=8"
    assert ours
    assert all(line.startswith("glibc.malloc.") for line in ours)


@pytest.mark.skipif(memory._glibc() < (2, 35), reason="glibc 2.35 or newer reads these tunables")
def test_a_command_starts_anew_once_with_the_same_arguments(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfrom tl_jax import command\n"
        "def main(argv):\n    print(os.getpid(), argv[1:], os.environ['GLIBC_TUNABLES'])\n    return 3\n"
        "command.run(main)\n"
    )
    names = ("GLIBC_TUNABLES", memory.SWITCH)
    environment = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-W", "error", str(script), "a b", "--c=[1]"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert said.startswith(f"{process.pid} ['a b', '--c=[1]'] glibc.malloc.")
    assert said.count("\n") == 1
