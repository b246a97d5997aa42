"""`ser-nnunet report` as a user calls it."""

import numpy as np
import pytest

from ser_nnunet.cli import main
from ser_nnunet.evaluation import evaluate
from tests.evaluation.cohort import FAST, OVERLAP, random_label_map, write_cohort


def test_report_is_written_beside_the_evaluation_and_invalid_choices_are_refused(tmp_path, capsys):
    names = [f"case{seed}" for seed in range(3)]
    reference = {name: random_label_map(seed) for seed, name in enumerate(names)}
    folder = write_cohort(tmp_path, reference, {name: np.roll(array, 1) for name, array in reference.items()})
    evaluate(folder / "labelsTr", folder / "pred0", settings=OVERLAP, **FAST).write(tmp_path)

    assert main(["report", str(tmp_path), "--pictures", "0", "--title", "A & B"]) == 0
    assert "<title>A &amp; B</title>" in (tmp_path / "report.html").read_text()
    assert main(["report", str(tmp_path), "--rank-by", "beauty"]) == 2
    assert "no metric 'beauty'" in capsys.readouterr().err
    assert main(["report", str(tmp_path), "--cases", "nobody"]) == 2
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path), "--pictures", "-1"])
    assert main(["report", str(tmp_path), "--images", str(tmp_path / "absent")]) == 2
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert {file.name for file in tmp_path.glob("*.html")} == {"report.html"}
