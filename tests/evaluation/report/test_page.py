"""The report page: complete, self-contained, and working in a browser."""

import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation import Settings, evaluate
from ser_nnunet.evaluation.patients import describe_patients
from ser_nnunet.evaluation.report import write_report
from tests.evaluation.cohort import write_cohort

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def page(evaluation, tmp_path_factory):
    return write_report(evaluation, tmp_path_factory.mktemp("page") / "report.html", cases=["case_7"], progress=False)


class Tags(html.parser.HTMLParser):
    """Collects the tags and their attributes; fails where a tag isn't closed."""

    VOID = {"meta", "input", "br", "link", "img"}

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_says_what_is_resampled(page, evaluation):
    text = page.read_text(encoding="utf-8")
    assert "bootstrap over patients" in text and f"{describe_patients(evaluation.about['patients'])}." in text


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    tags = Tags(page.read_text(encoding="utf-8"))
    assert not tags.open
    for tag, attributes in tags.found:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
    ids = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    own = [name for name in ids if name.startswith(("case-", "example-", "image-"))]  # matplotlib repeats its own ids
    assert len(own) == len(set(own))
    targets = [attributes.get(name) or "" for _, attributes in tags.found for name in ("href", "xlink:href")]
    links = {target[1:] for target in targets if target.startswith("#")}
    internal = {link for link in links if link.startswith(("case-", "example-"))}
    assert len(internal) >= 10 + 7 and internal <= set(ids)


def test_the_page_describes_methods_and_classes(page, evaluation):
    text = page.read_text(encoding="utf-8")
    assert "core &lt;b&gt;" in text and "core <b>" not in text
    for word in ("MONAI", "tolerance 1 mm", "26 neighbours", "image&#39;s diagonal", "Holm", "rank-biserial"):
        assert word in text
    mean = evaluation.mean("Dice", "rim", "theirs")
    assert f"<b>{mean:.3f}</b>" in text


def test_every_case_is_in_the_table_and_the_selected_ones_are_drawn(page):
    tags = Tags(page.read_text(encoding="utf-8")).found
    rows = [attributes for tag, attributes in tags if tag == "tr" and "data-case" in attributes]
    assert len(rows) == 10 * 2 * 2
    articles = [attributes["id"] for tag, attributes in tags if tag == "article"]
    assert len(articles) == len(set(articles)) == 7 and articles[0] == "example-case-case_7"
    assert sum(tag == "image" for tag, _ in tags) == 7


def test_classes_have_a_legend_and_empty_predictions_are_marked(page):
    text = page.read_text(encoding="utf-8")
    for name, colour in (("core &lt;b&gt;", "#e69f00"), ("rim", "#56b4e9")):
        assert f'<span><span class="swatch" style="background:{colour}"></span>{name}</span>' in text
        assert f'<span class="empty">{name}: empty prediction</span>' in text  # by "theirs" in case_9, which is drawn
    assert (
        text.count('0.000 <span class="empty">empty</span>') == 2 * 2
    )  # both classes, among the examples and the cases
    assert len(re.findall(r'<a href="#case-case_9">case_9</a> \(1 of 10 cases\)', text)) == 2


def test_only_classes_whose_lesions_are_counted_have_lesion_metrics(evaluation, tmp_path):
    settings = replace(evaluation.settings, lesion_classes=("rim",))
    about = evaluation.about
    again = evaluate(
        Path(about["reference"]), Path(about["methods"]["ours"]), settings=settings, processes=1, progress=False
    )
    text = write_report(again, tmp_path / "report.html", pictures=0, progress=False).read_text(encoding="utf-8")
    assert text.count("Lesion F1</th>") == 1 and text.count("Lesion sensitivity of ") == 1
    assert "Lesions are counted for rim, not for core &lt;b&gt;" in text


def test_another_page_of_the_reports_name_is_not_replaced(evaluation, tmp_path):
    (tmp_path / "report.html").write_text("precious")
    with pytest.raises(UserError, match=r"report\.html was not written by `ser-nnunet report`"):
        write_report(evaluation, tmp_path / "report.html", pictures=0, progress=False)
    assert (tmp_path / "report.html").read_text() == "precious"


def test_one_case_one_class_and_no_images_are_enough(tmp_path):
    array = np.zeros((3, 8, 8), np.uint8)
    array[1, 2:4, 2:4] = 1
    folder = write_cohort(tmp_path, {"a": array}, {"a": array * 0}, labels={"background": 0, "lesion": 1})
    settings = Settings(bootstrap=100)
    found = evaluate(folder / "labelsTr", folder / "pred0", settings=settings, processes=1, progress=False)
    text = write_report(found, tmp_path / "report.html", progress=False).read_text(encoding="utf-8")
    assert not Tags(text).open and "No images were given" in text


PROBE = Path(__file__).with_name("page_probe.js")  # uses the page as a reader does, and reports what it shows


@pytest.fixture(scope="module")
def probed(page, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not tested in a browser")
    folder = tmp_path_factory.mktemp("browser")
    copy = folder / "probe.html"
    probe = f"<script>{{{PROBE.read_text(encoding='utf-8')}}}</script>"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", probe + "</body>"), encoding="utf-8")
    switches = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    switches += " --disable-component-update --disable-sync --enable-logging=stderr --window-size=390,800 --dump-dom"
    switches += f" --virtual-time-budget=10000 --user-data-dir={folder / 'profile'}"
    ran = subprocess.run(
        [CHROMIUM, *switches.split(), copy.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found, ran.stderr[-2000:]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), ran.stderr


def test_browser_reports_no_errors(probed):
    assert [line for line in probed[1].splitlines() if "CONSOLE" in line] == []


def test_browser_sorts_by_number_both_ways_with_undefined_last(probed):
    found = probed[0]
    rising = [float(value) for value in found["rising"]]
    assert rising == sorted(rising) and rising[0] < rising[-1] and found["sort"] == "ascending"
    assert [float(value) for value in found["falling"]] == sorted(rising, reverse=True)
    assert (
        found["precision"][-2:] == ["not defined"] * 2 and "not defined" not in found["precision"][:-2]
    )  # nothing predicted
    assert found["cases"] == sorted(found["cases"])


def test_browser_filters_by_case_and_method(probed):
    assert probed[0]["shown"] == ["case_3theirs"] * 2
    assert probed[0]["count"] == "2 of 40 rows"


def test_browser_switches_colours_and_outlines(probed):
    assert (probed[0]["red"], probed[0]["orange"]) == ("rgb(255, 59, 48)", "rgb(230, 159, 0)")
    assert probed[0]["hidden"] == "none"


def test_browser_shows_the_images_and_the_case_of_a_point(probed):
    assert probed[0]["widths"] == [40] * 7
    assert set(probed[0]["tips"]) == {f"case_{number}" for number in range(10)}


def test_page_is_not_wider_than_a_phone_and_cuts_off_no_method(probed):
    assert probed[0]["wide"] <= 0 and probed[0]["cut"] == 0


def test_browser_draws_every_class_in_a_colour_of_its_own(probed):
    assert probed[0]["classes"] == ["rgb(230, 159, 0)", "rgb(86, 180, 233)"]


def test_keyboard_reaches_every_control_and_no_single_point_of_a_chart(probed, page):
    tags = Tags(page.read_text(encoding="utf-8")).found
    controls = sum(tag in {"button", "input", "select", "summary"} for tag, _ in tags)
    links = sum(tag == "a" and "href" in attributes and "xlink:href" not in attributes for tag, attributes in tags)
    regions = sum(attributes.get("tabindex") == "0" for _, attributes in tags)
    assert probed[0]["focusable"] == controls + links + regions
