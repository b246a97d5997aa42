"""What runs record about SAM and the packages, and what the tables say about it."""

import json

import pytest

from ser_nnunet.benchmark.run_provenance import UNGUIDED, describe_sam, note_versions, refuse_other_sam
from ser_nnunet.benchmark.runs import Run
from ser_nnunet.benchmark.teacher_checks import describe_teachers, refuse_other_teachers
from ser_nnunet.errors import UserError


def begin_run(folder, trainer, **record):
    """Leave behind what a training has written after its first epoch."""
    run = Run(trainer, 0, 0, folder / trainer)
    run.folder.mkdir(parents=True)
    (run.folder / "run.json").write_text(json.dumps(record))
    (run.folder / "curve.csv").write_text("epoch\n0\n")
    return run


def test_runs_of_different_versions_are_named_below_the_tables(tmp_path):
    first, second = (begin_run(tmp_path, name, software=["torch 2.5"]) for name in "AB")
    assert note_versions([first, second]) == []
    resumed = begin_run(tmp_path, "C", software=["torch 2.5", "torch 2.6"])
    assert (
        "A, fold 0, seed 0: torch 2.5; C, fold 0, seed 0: torch 2.5 then torch 2.6"
        in note_versions([first, resumed])[0]
    )
    assert (
        "D, fold 0, seed 0: not recorded" in note_versions([first, begin_run(tmp_path, "D")])[0]
    )  # by an earlier version


def test_sam_is_named_with_the_beginning_of_its_hash(tmp_path):
    guided = begin_run(tmp_path, "A", sam_file="sam.pth", sam_sha256="0123456789abcdef")
    unguided, unknown = begin_run(tmp_path, "B", **UNGUIDED), begin_run(tmp_path, "C")
    assert describe_sam([guided, unguided]) == "sam.pth (SHA-256 0123456789ab)"
    assert describe_sam([unguided]) == "none" and describe_sam([unknown]) == "not recorded"


def test_another_sam_is_refused_and_a_run_that_never_began_restricts_nothing(tmp_path):
    guided = begin_run(tmp_path, "A", sam_file="sam.pth", sam_sha256="0" * 64)
    refuse_other_sam([guided], {"sam_file": "copy.pth", "sam_sha256": "0" * 64})
    other = {"sam_file": "sam.pth", "sam_sha256": "1" * 64}
    with pytest.raises(UserError, match="guided by another SAM"):
        refuse_other_sam([guided], other)
    (guided.folder / "curve.csv").unlink()
    refuse_other_sam([guided], other)


def test_another_teacher_of_the_same_fold_is_refused_and_named(tmp_path):
    taught = begin_run(tmp_path, "A", fold=1, teachers={"0": "a" * 64, "1": "b" * 64})
    untaught = begin_run(tmp_path, "B", fold=1)
    refuse_other_teachers([taught, untaught], {"1": "b" * 64, "2": "c" * 64})
    with pytest.raises(UserError, match=f"{taught.folder}: SHA-256 bbbbbbbbbbbb, now aaaaaaaaaaaa"):
        refuse_other_teachers([taught, untaught], {"1": "a" * 64})
    assert describe_teachers([taught, untaught]) == "fold 0: SHA-256 aaaaaaaaaaaa, fold 1: SHA-256 bbbbbbbbbbbb"
    assert describe_teachers([untaught]) == "none"
