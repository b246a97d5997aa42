"""Every number on the command line has limits: what is senseless ends with exit status 2 and one clear line."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from ser_nnunet.cli import COMMANDS, build_parser, main

ZERO = {"--min-overlap", "--pictures", "--seed", "--seeds", "--warmup", "-f"}
"""Options whose value may be 0."""

BILLION = {"--min-lesion-voxels", "--seed", "--seeds", "--strata"}
"""Options whose value may be a billion."""

READ_LATER = {("evaluate", "--tolerance")}
"""Options whose numbers the command reads itself, after the parser."""


def options(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """Yield subcommand, option and how many values it wants, of every option that takes numbers."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                yield from options(subparser, (*words, name))
        elif action.type not in (None, Path, str) or {(*words, name) for name in action.option_strings} & READ_LATER:
            yield words, action.option_strings[0], action.nargs if isinstance(action.nargs, int) else 1


NUMBERS = sorted({found for name in COMMANDS for found in options(build_parser(name)) if found[0][0] == name})


def refusal(words: list[str], capsys) -> str:
    """Return the last line of a command that ends with status 2."""
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2, words
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(("words", "option", "count"), NUMBERS, ids=str)
def test_senseless_numbers_are_refused_in_one_line_that_names_the_option(words, option, count, capsys):
    values = ["-1", "inf", "nan", "9" * 5000, *([] if option in ZERO else ["0"])]
    for value in [*values, *([] if option in BILLION else [str(10**9)])]:
        place = ["-ref", "a", "-pred", "b", "-o", "c"] if (words[0], option) in READ_LATER else []
        line = refusal([*words, *place, option, *[value] * count], capsys)
        assert option in line and len(line) < 200, line


def test_the_numbers_of_every_command_are_found():
    found = {(*words, option) for words, option, _ in NUMBERS}
    assert len(found) > 40
    expected = [("predict", "--step"), ("demo", "--seed"), ("evaluate", "-np"), ("report", "--pictures")]
    expected += [("crossval", "--memory"), ("crossval", "--time")]
    expected += [("convert", "msd", "-d"), ("benchmark", "accuracy", "--epochs"), ("benchmark", "size", "--shape")]
    assert found >= set(expected)
