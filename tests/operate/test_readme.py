"""README's table of faults."""

import re

from readmes import ROOT

README = ROOT / "sled_sessions/operate/README.md"


def test_faults_name_existing_tests():
    """Every test that the table of faults names exists in the file that its link leads to."""
    named = re.findall(r"\[`(test_\w+)`\]\((\S+\.py)\)", README.read_text("utf-8"))
    assert len(named) > 20
    missing = [name for name, file in named if f"def {name}(" not in (README.parent / file).read_text("utf-8")]
    assert not missing
