"""Where findings go: to the part of their own class, and no path to readers of a less sensitive one."""

from __future__ import annotations

from holdfast.base.events import Finding
from holdfast.runs.draft import part_findings

PHI, RESTRICTED, SYSTEM, PUBLIC = 1, 2, 6, 7


def finding(class_id):
    return Finding(b"srv/patient", "unreadable", "Permission denied", class_id)


def test_a_finding_goes_to_the_part_of_its_class():
    parts = part_findings([finding(SYSTEM), finding(PHI)], [PHI, SYSTEM])
    assert [[row.path for row in parts[class_id]] for class_id in (PHI, SYSTEM)] == [[b"srv/patient"]] * 2


def test_a_path_is_not_told_to_a_less_sensitive_class():
    """The only file of its class could not be read, so that the class has no tree."""
    parts = part_findings([finding(RESTRICTED)], [SYSTEM, PHI, PUBLIC])
    assert [(row.path, row.kind) for row in parts[PHI]] == [(b"", "unreadable")]
    assert not parts[SYSTEM]
    assert not parts[PUBLIC]


def test_a_more_sensitive_class_may_hold_it():
    parts = part_findings([finding(PUBLIC)], [SYSTEM, RESTRICTED])
    assert [row.path for row in parts[RESTRICTED]] == [b"srv/patient"]
