"""docs/threat-model.md and SECURITY.md keep their word: every test that they name exists."""

import ast
import re

from tests.support.service import ROOT

MODEL = ROOT / "docs" / "threat-model.md"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
COLUMNS = 4


def rows() -> list[list[str]]:
    """Returns the cells of every line of the tables."""
    lines = MODEL.read_text(encoding="utf-8").splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return [cells for cells in table if cells[0] not in ("goal", "---")]


def names_in(file: str) -> set[str]:
    """Returns the names of the tests in the files of this name."""
    return {
        node.name
        for path in (ROOT / "tests").glob(f"*/{file}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(MODEL.read_text(encoding="utf-8"))
    assert len(named) > 80
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []


def test_every_line_names_a_test_and_says_what_is_not_defended() -> None:
    found = rows()
    assert len(found) > 40
    assert [cells[0] for cells in found if len(cells) != COLUMNS] == []
    assert [cells[0] for cells in found if not NAMED.search(cells[2])] == []
    assert [cells[0] for cells in found if not cells[3].strip()] == []


def test_nobody_is_sent_to_a_made_up_address() -> None:
    for file in (MODEL, ROOT / "SECURITY.md"):
        assert not re.search(r"[\w.]+@[\w-]+\.\w+", file.read_text(encoding="utf-8"))
