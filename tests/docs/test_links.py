"""Every link within the documentation leads to a file, and every anchor to a heading."""

import pytest

from tests.conftest import REPOSITORY
from tests.docs.markdown_pages import anchors, pages, relative_links


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings(page):
    broken = []
    for target in relative_links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_a_missing_file_and_a_missing_heading_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Some `code` & more\n\n[a](absent.md) [b](#some-code--more) [c](https://example.org)\n")
    assert relative_links(page) == ["absent.md", "#some-code--more"]
    assert anchors(page) == {"some-code--more"}
