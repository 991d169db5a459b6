"""
Which operations of management a test has called, for tests that say which they show: C{@pytest.mark.shows("kick")}.

docs/management.md names such a test for each operation. tests/conftest.py fails one that does not call what it says.
"""

from __future__ import annotations

#: The names of the operations that the test at hand has called, as far as its kits have seen it.
called: set[str] = set()
