"""Alerts from their first report to their end: a durable book, a pure plan of who is told what, a desk that tells them."""

from __future__ import annotations

from holdfast.reliability.alerts.book import AlertBook
from holdfast.reliability.alerts.desk import AlertDesk
from holdfast.reliability.alerts.records import AlertRecord, AlertState, Delivery, Telling
from holdfast.reliability.alerts.table import Contact, Level, Policy, Row

__all__ = [
    "AlertBook",
    "AlertDesk",
    "AlertRecord",
    "AlertState",
    "Contact",
    "Delivery",
    "Level",
    "Policy",
    "Row",
    "Telling",
]
