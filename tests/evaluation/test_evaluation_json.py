"""evaluation.json from elsewhere: whatever was edited, it is refused with a reason or gives a page."""

import copy
import json
from pathlib import Path

import pytest

from ser_nnunet.cli import main
from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Evaluation, Settings, evaluate
from ser_nnunet.evaluation.report import charts, write_report
from tests.evaluation.cohort import FAST, random_label_map, write_cohort

EDITS = [None, [], "words", -1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    cohort = write_cohort(
        tmp_path_factory.mktemp("cohort"),
        *({name: random_label_map(seed + 10 * part) for seed, name in enumerate("ab")} for part in range(3)),
    )
    settings = Settings(groups=("overlap", "lesions"), lesion_classes="all", strata=(5,), bootstrap=100)
    places = cohort / "pred0", {"compare": [cohort / "pred1"], "settings": settings}
    evaluate(cohort / "labelsTr", places[0], **places[1], **FAST).write(cohort / "out")
    return cohort / "out"


@pytest.fixture
def content(folder):
    return json.loads((folder / "evaluation.json").read_text())


def list_places(value, path=()):
    """Yield the path of every entry; of long lists the first one alone."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from list_places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from list_places(value[0], (*path, 0))


def edit(content, path, value):
    edited = copy.deepcopy(content)
    place = edited
    for key in path[:-1]:
        place = place[key]
    if value is DELETED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return edited


DELETED = object()


@pytest.mark.slow
def test_every_single_edit_is_refused_with_a_reason_or_gives_a_page(content, tmp_path, monkeypatch):
    for name in ("draw_distribution", "draw_bland_altman", "draw_lesion_sensitivity"):  # nearly all the time
        monkeypatch.setattr(charts, name, lambda *arguments: "<svg></svg>")
    file, refused, accepted = tmp_path / "evaluation.json", 0, 0
    metric = {path for path in list_places(content) if path[0] in ("cases", "lesions") and len(path) == 3}
    places = [path for path in list_places(content) if path not in metric or path[-1] in ("method", "class", "Dice")]
    places = [path for path in places if path[:2] not in (("about", "versions"), ("about", "rules")) or len(path) == 2]
    for path in places:
        for value in [DELETED, *EDITS]:
            file.write_text(json.dumps(edit(content, path, value)))
            try:
                write_report(Evaluation.read(tmp_path), tmp_path / "report.html", pictures=0, progress=False)
                accepted += 1
            except UserError as error:
                assert "evaluation.json" in str(error), (path, value)
                refused += 1
    assert refused > 100 and accepted > 20, (refused, accepted)


@pytest.mark.parametrize("name", ["../secret/x", "/etc/passwd", "a\\b"])
def test_a_case_name_that_leads_out_of_the_folders_is_refused(content, tmp_path, name, capsys):
    for row in content["cases"]:
        row["case"] = row["case"].replace("a", name)
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    assert main(["report", str(tmp_path)]) == 2
    assert "is no name of a case" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("folder_name", ["labelsTr/../../secret", "/data/../etc"])
def test_folders_that_are_not_absolute_or_lead_upwards_are_refused(content, tmp_path, folder_name):
    content["about"]["reference"] = folder_name
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"is no absolute path without \.\."):
        Evaluation.read(tmp_path)


def test_the_folders_that_a_report_reads_are_named(folder, tmp_path, capsys):
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert all(str(folder.parent / name) in shown for name in ("labelsTr", "pred0", "pred1"))
    assert Path(tmp_path / "page.html").is_file()
