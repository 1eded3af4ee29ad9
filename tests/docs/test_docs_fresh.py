"""Pages made from the code are what the code says now, and every link leads somewhere."""

import pytest


def test_every_page_is_fresh(docs, root):
    """No generated page and no region differs from what the code gives: run make docs."""
    stale = sorted(str(path.relative_to(root)) for path in docs.stale())

    assert stale == []


def test_every_link_and_heading_leads_somewhere(docs):
    """Relative links reach a file and a heading, titles stand in order, and no page is lonely."""
    assert docs.broken() == []


@pytest.mark.parametrize(
    ("page", "region", "file"),
    [
        ("docs/how-to/receive.md", "A whole service", "examples/service-fastapi-kit/service.py"),
        ("docs/how-to/write-a-driver.md", "A whole pusher", "tests/docs/jsonlines.py"),
    ],
)
def test_examples_are_the_files_that_the_tests_run(page, root, region, file, request):
    """The code under the heading is the file, character by character."""
    text = (root / page).read_text(encoding="utf-8").partition(f"# {region}\n")[2]
    code = text.partition("```python\n")[2].partition("```\n")[0]

    assert (root / file).read_text(encoding="utf-8") == code


@pytest.fixture
def broken_page(docs, monkeypatch, tmp_path):
    """What the link checker says of a project that is one README."""

    def check(text: str, **others: str) -> list[str]:
        for name, content in {"README": text, **others}.items():
            path = tmp_path / (f"{name}.md" if name == "README" else f"docs/{name}.md")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        monkeypatch.setattr(docs, "ROOT", tmp_path)
        return docs.broken()

    return check


def test_a_link_to_no_file_is_found(broken_page):
    """A link whose file is missing is named with its page."""
    assert broken_page("# A\n\n[x](no.md)\n") == ["README.md: no.md leads to no file"]


def test_a_link_to_no_heading_is_found(broken_page):
    """A link whose heading is missing is named, in the same page or in another."""
    found = broken_page("# A\n\n[x](#nowhere) [y](docs/b.md#b-too) [z](docs/b.md#c)\n", b="# B\n\n## B, too\n")

    assert found == ["README.md: #nowhere leads to no heading", "README.md: docs/b.md#c leads to no heading"]


def test_links_in_code_are_no_links(broken_page):
    """What stands in code is not followed, and addresses of the web are not asked for."""
    text = "# A\n\n`[x](no.md)` [y](https://example.com/no)\n\n```sh\n# [z](no.md)\n```\n"

    assert broken_page(text) == []


def test_a_page_that_nobody_links_to_is_found(broken_page):
    """A page below docs that cannot be reached from the README is named."""
    assert broken_page("# A\n", b="# B\n") == ["docs/b.md: no page leads here"]


@pytest.mark.parametrize("text", ["## A\n", "# A\n\n# B\n", "# A\n\n### B\n"])
def test_headings_out_of_order_are_found(broken_page, text):
    """A page without a title, with two, or with a level left out is named."""
    assert len(broken_page(text)) == 1


def test_a_region_for_nothing_is_refused(docs, tmp_path, monkeypatch):
    """A region that names no file stops the run, with page and name."""
    path = tmp_path / "README.md"
    path.write_text("# A\n\n<!-- begin file: gone.py -->\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(docs, "ROOT", tmp_path)

    with pytest.raises(docs.BrokenRegionError, match=r"README.md: .* gone.py"):
        docs.filled(path)


def test_a_change_by_hand_is_stale(docs, generated, monkeypatch, tmp_path):
    """A generated page that somebody edited, and one that is missing, count as stale."""
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "PAGES", {"docs/a.md": lambda: "# A\n", "docs/b.md": lambda: "# B\n"})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("# A, edited\n", encoding="utf-8")

    assert {tmp_path / "docs/a.md", tmp_path / "docs/b.md"} == set(docs.stale())
