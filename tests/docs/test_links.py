"""Every relative link, anchor and picture of the documents exists, and every picture is referenced."""

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def links(path: Path) -> list[str]:
    """Relative links and pictures of a document, outside code."""
    content = CODE.sub("", path.read_text(encoding="utf-8"))
    found = [first or second for first, second in LINK.findall(content)]
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_picture_of_docs_is_shown() -> None:
    shown = {(path.parent / link).resolve() for path in DOCUMENTS for link in links(path)}
    pictures = {path for kind in ("png", "jpg", "svg") for path in (ROOT / "docs").rglob(f"*.{kind}")}
    assert pictures - shown == set()


def test_every_document_is_reachable_from_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        targets = [(path.parent / link.partition("#")[0]).resolve() for link in links(path)]
        waiting += [target for target in targets if target in DOCUMENTS]
    assert set(DOCUMENTS) - reached == set()
