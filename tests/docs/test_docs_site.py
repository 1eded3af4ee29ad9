"""The copy of the pages that the site is made from: every page once, every link to a file of the copy."""

import importlib
import re

import pytest


@pytest.fixture
def site(monkeypatch, root):
    """scripts/docs_site.py as a module."""
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("docs_site")


def test_every_link_of_the_copy_leads_to_a_file_of_the_copy(site, tmp_path):
    """Pages, pictures, reports and code that a page leads to are there, where its links say."""
    site.stage(tmp_path)
    pages = list(tmp_path.rglob("*.md"))
    lost = [
        f"{page.name}: {match[2]}"
        for page in pages
        for match in site._LINK.finditer(site._FENCE.sub("", page.read_text()))
        if not site._AWAY.match(match[2]) and not (page.parent / match[2].partition("#")[0]).resolve().is_file()
        if not match[2].startswith("#")
    ]

    assert len(pages) > 40
    assert lost == []


def test_every_page_stands_in_one_chapter(site):
    """The side bar holds each page once, in the order of docs/README.md."""
    texts = site.collected()
    found = site.chapters(texts)
    listed = [name for names in found.values() for name in names]

    assert sorted([site.INDEX, *listed]) == sorted(texts)
    assert len({site.staged(name) for name in texts}) == len(texts)
    assert list(found) == ["Begin", "How to", "Explanation", "Reference", site.PROJECT]
    assert found["Begin"] == ["docs/why.md", "docs/tutorial.md"]


def test_code_in_a_page_is_left_as_it_is(site):
    """A link in the text is led anew, the same words in a block of code are not."""
    text = "[a](tutorial.md#b)\n\n```md\n[a](tutorial.md#b)\n```\n"

    assert site.rewritten("docs/README.md", text) == text
    moved = site.rewritten("README.md", text.replace("tutorial", "docs/tutorial"))
    assert re.findall(r"\]\((.*)\)", moved) == ["../tutorial.md#b", "docs/tutorial.md#b"]


def test_a_link_to_no_file_is_refused(site):
    """The page and the link are named."""
    with pytest.raises(site.BrokenLinkError, match=r"docs/README.md: no.md leads to no file"):
        list(site.links("docs/README.md", "[a](no.md)"))
