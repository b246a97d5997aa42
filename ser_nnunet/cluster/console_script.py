"""`python -m ser_nnunet.cluster.console_script NAME ARGUMENTS`: an installed command, wherever its script lies."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from ser_nnunet.errors import UserError


def main(arguments: list[str]) -> object:
    """Call the command as its script does; return its exit status."""
    found = list(entry_points(group="console_scripts", name=arguments[0]))
    if not found:
        raise UserError(f"the command {arguments[0]} isn't installed beside {sys.executable}")
    sys.argv = arguments
    return found[0].load()()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))  # type: ignore[arg-type]
