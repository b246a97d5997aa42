"""What shells read: the line of `env` in each of them, completion, and nothing at all with `--quiet`."""

import os
import shutil
import subprocess

import pytest

from ser_nnunet.cli import COMMANDS, main
from ser_nnunet.nnunet.trainers import trainers_folder

ODD = "/it's a \\ folder"


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("sh", "export nnUNet_extTrainer='/it'\"'\"'s a \\ folder{sep}{own}'"),
        ("bash", "export nnUNet_extTrainer='/it'\"'\"'s a \\ folder{sep}{own}'"),
        ("fish", "set -gx nnUNet_extTrainer '/it\\'s a \\\\ folder{sep}{own}'"),
        ("powershell", "$env:nnUNet_extTrainer = '/it''s a \\ folder{sep}{own}'"),
        ("cmd", 'set "nnUNet_extTrainer=/it\'s a \\ folder{sep}{own}"'),
    ],
)
def test_env_quotes_for_each_shell(shell, expected, capsys, monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", ODD)
    assert main(["env", "--shell", shell]) == 0
    assert capsys.readouterr().out == expected.format(sep=os.pathsep, own=trainers_folder()) + "\n"


@pytest.mark.parametrize(("shell", "command"), [("sh", "sh -c"), ("fish", "fish -c"), ("powershell", "pwsh -Command")])
def test_each_shell_that_is_here_reads_its_line(shell, command, capsys, monkeypatch):
    program, option = command.split()
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    monkeypatch.setenv("nnUNet_extTrainer", ODD)
    main(["env", "--shell", shell])
    line = capsys.readouterr().out.strip()
    monkeypatch.delenv("nnUNet_extTrainer")
    done = subprocess.run([program, option, f"{line}\nprintenv nnUNet_extTrainer"], capture_output=True, text=True)
    assert done.stdout.strip() == f"{ODD}{os.pathsep}{trainers_folder()}"


def complete(script, words):
    """What bash offers after `words` with the script."""
    code = f"{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))\n"
    code += '$(complete -p ser-nnunet | grep -o "_[a-z_]*" | tail -1)\nprintf "%s\\n" "${COMPREPLY[@]}"'
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_and_options(capsys):
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert set(COMMANDS) <= set(complete(script, 'ser-nnunet ""'))
    assert complete(script, "ser-nnunet evaluate --chi") == ["--chill"]


def test_completion_without_its_package_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'ser-nnunet[completion]'" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_leaves_errors_and_the_exit_status(place, capfd):
    command = ["--quiet", "env"] if place == "before" else ["env", "--quiet"]
    assert main(command) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["report", "/nope", "--quiet"]) == 2
    shown = capfd.readouterr()
    assert shown.out == "" and "/nope/evaluation.json" in shown.err
