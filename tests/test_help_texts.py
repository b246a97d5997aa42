"""Help texts: every option says in a phrase of its own what it is, and what holds if it is left out."""

import argparse
import re
from collections.abc import Iterator

from ser_nnunet.cli import COMMANDS, build_parser


def arguments(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, argparse.Action]]:
    """Yield the name, after its command's, and the action of every option and argument below a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                yield from arguments(subparser, (*words, name))
        elif not isinstance(action, argparse._HelpAction):
            yield " ".join([*words, action.option_strings[0] if action.option_strings else action.dest]), action


FOUND = dict(
    sorted({found for name in COMMANDS for found in arguments(build_parser(name))}, key=lambda found: found[0])
)
VALUES = {name: action for name, action in FOUND.items() if action.nargs != 0 and action.option_strings}


def test_the_arguments_of_every_command_are_found():
    expected = {"convert msd --classes", "benchmark proxy-sam --steps", "completion shell", "check -tr", "--quiet"}
    assert FOUND.keys() >= expected and {name.split(" ")[0] for name in FOUND} >= COMMANDS.keys()


def test_every_help_text_is_a_whole_phrase():
    for name, action in FOUND.items():
        phrase = re.sub(r" ?\([^()]*\)", "", action.help or "")
        assert len(phrase.split()) >= 3, f"{name}: too short to understand: {action.help}"
        assert not re.match(r"(of|for|in|as|with|by|on|default)\b", phrase), f"{name}: begins in its middle: {phrase}"
        assert phrase[-1] not in ".,;:" and "  " not in phrase, f"{name}: {phrase}"


def test_every_option_with_a_value_names_its_default():
    """What is needed has none, and what is absent or empty without the option needs no mention."""
    for name, action in VALUES.items():
        stated = action.required or action.default in (None, "", (), []) or "default" in (action.help or "")
        assert stated, f"{name}: the default is {action.default}: {action.help}"


def test_the_usage_names_the_kind_of_a_value_and_not_a_short_option_again():
    """Without a metavar argparse writes `-tr TR`."""
    for name, action in VALUES.items():
        if not action.choices and max(map(len, action.option_strings)) < 4:
            assert action.metavar, f"{name}: {action.option_strings[-1]} {action.dest.upper()}"
