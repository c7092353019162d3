"""The command line of every command that trains, measures or prints a plan.

    python -m tl_jax.main --config=FILE.py[:ARGUMENT] [--config.KEY=VALUE …] [--workdir=FOLDER]

The file is completed before the flags apply, so that every documented key can be set; all problems of
file and flags come in one message. Nothing heavy is imported here, so that ``--help`` is quick.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict

from tl_jax import agreement, config_file, overrides, schema
from tl_jax.completion import ConfigError, Problem, keys, merge

Define = Callable[[flags.FlagValues], object]
"""Adds a command's own flags: ``lambda f: flags.DEFINE_string("input", "", "…", flag_values=f)``."""


@dataclass(frozen=True)
class Parsed:
    """What a command line says. ``config`` is empty for a command that takes none; ``flags`` holds the
    command's own flags (``parsed.flags.input``); ``name`` is what the config is called for short, after its
    file and argument."""

    config: ConfigDict
    workdir: str
    flags: flags.FlagValues
    name: str = ""


def parse(
    argv: list[str], *, define: Define | None = None, takes_config: bool = True, suffix: str = ""
) -> Parsed:
    """`read`, for a command's ``main(sys.argv)``: a problem is printed and ends the process with
    exit code 2, ``--help`` and ``--helpfull`` (every key of a config) with 0."""
    if wanted := {"-h", "-help", "--help", "--helpfull", "-helpfull"}.intersection(argv[1:]):
        print(_help(argv[0], define, takes_config, every_key=any("full" in flag for flag in wanted)))
        raise SystemExit(0)
    try:
        return read(argv, define=define, takes_config=takes_config, suffix=suffix)
    except ConfigError as error:
        _end(f"{error}\n{_program(argv[0])} --help shows the usage.")


def read(
    argv: list[str], *, define: Define | None = None, takes_config: bool = True, suffix: str = ""
) -> Parsed:
    """Reads a command line; ``argv[0]`` is the program.

    ``define`` adds flags of the command's own; ``takes_config=False`` is for commands that work on a
    finished run and need ``--workdir`` alone. Without ``--workdir`` it is
    ``runs/<name of the config file>[-<argument>]<suffix>``. Raises `ConfigError` with every problem of
    file and flags.
    """
    problems: list[Problem] = []
    config, name, workdir, rest, where = ConfigDict(), "", "", list(argv[1:]), "the command line"
    if takes_config:
        sets, rest = overrides.take(rest)
        text, rest, problem = config_path(rest)
        problems += [problem] if problem else []
        if text:
            where = f"--config={text}"
            config, found = merge(config_file.load(text))
            problems += found
            config, found = overrides.apply(config, sets)
            problems += [*found, *schema.problems(config), *agreement.problems(config)]
            path, argument = config_file.split(text)
            name = re.sub(r"[^\w.=+-]+", "-", "-".join(filter(None, (path.stem, argument))))
            workdir = f"runs/{name}{suffix}"

    values = _define(define, workdir)
    try:
        left_over = values([argv[0], *rest], known_only=True)[1:]
    except flags.Error as error:
        named = re.fullmatch(r"flag (--[^=]+)=(.*): (.*)", str(error), re.DOTALL)
        given = f"found {named[2]!r}; " if named and named[2] else ""
        problems.append(Problem(named[1], given + named[3]) if named else Problem("flags", str(error)))
        left_over = []
    problems += _unknown(left_over, values, takes_config)
    if not takes_config and not values["workdir"].present:
        problems.append(Problem("--workdir", "is missing; give the folder of a finished run"))
    if problems:
        raise ConfigError(problems, where)
    # Grain's workers ask absl's own flags, which must count as parsed by then.
    flags.FLAGS.mark_as_parsed()
    return Parsed(config, str(values["workdir"].value), values, name)


def config_path(argv: list[str]) -> tuple[str, list[str], Problem | None]:
    """The value of --config, the other arguments, and what is wrong."""
    found, rest = [], []
    at = 0
    while at < len(argv) and argv[at] != "--":
        match = re.fullmatch(r"--?config(?:=(.*))?", argv[at], re.DOTALL)
        if match and match[1] is None:
            at += 1
            found.append(argv[at] if at < len(argv) else "")
        elif match:
            found.append(match[1])
        else:
            rest.append(argv[at])
        at += 1
    if len(found) > 1:
        text = f"is given {len(found)} times: {', '.join(found)}"
        return "", rest + argv[at:], Problem("--config", text)
    if not found or not found[0]:
        text = "is missing; give a config file, such as --config=configs/xray.py"
        return "", rest + argv[at:], Problem("--config", text)
    return found[0], rest + argv[at:], None


def _define(define: Define | None, workdir: str) -> flags.FlagValues:
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    flags.DEFINE_string("workdir", workdir, "folder of the run", flag_values=values)
    if define:
        define(values)
    return values


def _unknown(left_over: list[str], values: flags.FlagValues, takes_config: bool) -> list[Problem]:
    """A problem for each flag that does not exist; where there is none, one for the first bare word."""
    plain, problems = [], []
    candidates = [*values, *(["config", *(f"config.{key}" for key in keys())] if takes_config else [])]
    for at, argument in enumerate(left_over):
        if argument == "--":
            plain += left_over[at + 1 :]
            break
        if not argument.startswith("-") or argument == "-":
            plain.append(argument)
            continue
        name = argument.lstrip("-").partition("=")[0]
        exact = [f"config.{name}"] if f"config.{name}" in candidates else []
        near = exact or difflib.get_close_matches(name, candidates, n=1)
        hint = f"; did you mean --{near[0].replace('[]', '[0]')}?" if near else ""
        problems.append(Problem(argument.partition("=")[0], f"no such flag{hint}"))
    if plain and not problems:
        hint = f"; did you mean --config={plain[0]}?" if takes_config and ".py" in plain[0] else ""
        problems.append(Problem(plain[0], f"is no flag{hint}"))
    return problems


def _program(path: str) -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.origin and Path(spec.origin).resolve() == Path(path).resolve():
        return f"python -m {spec.name}"
    file = Path(path)
    inside = file.resolve().parent == Path(__file__).resolve().parent
    return f"python -m tl_jax.{file.stem}" if inside else path


def _help(program: str, define: Define | None, takes_config: bool, *, every_key: bool) -> str:
    values = _define(define, "")
    lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "Flags:"]
    if takes_config:
        lines += [
            "  --config=FILE.py[:ARGUMENT]  the config: a Python file with get_config(arg='')",
            "  --config.KEY=VALUE           sets one key, such as '--config.stages[1].lr=3e-5'",
        ]
    for name in values:
        flag = values[name]
        default = f" (default: {flag.default})" if flag.default not in (None, "", []) else ""
        if name == "workdir" and takes_config:
            default = " (default: runs/ and the name of the config file)"
        lines.append(f"  --{name}=…  {flag.help}{default}")
    if takes_config and every_key:
        lines += ["", "Keys of a config and their defaults:"]
        lines += [f"  {key.replace('[]', '[0]')} = {value!r}" for key, value in keys().items()]
    elif takes_config:
        lines += ["", "docs/config.md describes every key of a config; --helpfull lists them."]
    return "\n".join([f"{_program(program)}:", *lines]).strip()


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)
