"""Every setting once: its type, limits, unit, default and sentence. All else about configuration is derived from here.

One module per area; a table of the file is a field of `Settings`.
"""

from __future__ import annotations

from pydantic import Field

from holdfast.config.schema.alerts import (
    AlertSettings,
    ChannelSettings,
    ContactSettings,
    EscalationRowSettings,
    EscalationSettings,
    LevelSettings,
)
from holdfast.config.schema.fields import Name, Section
from holdfast.config.schema.schedule import MonitoringSettings, SchedulerSettings, ScheduleSettings
from holdfast.config.schema.vault import (
    BackupSettings,
    ClassRuleSettings,
    JobSettings,
    LimitSettings,
    PruneSettings,
    RetentionSettings,
    StreamSettings,
    VaultSettings,
    VerifySettings,
)

__all__ = [
    "AlertSettings",
    "BackupSettings",
    "ChannelSettings",
    "ClassRuleSettings",
    "ContactSettings",
    "EscalationRowSettings",
    "EscalationSettings",
    "JobSettings",
    "LevelSettings",
    "LimitSettings",
    "MonitoringSettings",
    "PruneSettings",
    "RetentionSettings",
    "ScheduleSettings",
    "SchedulerSettings",
    "Settings",
    "StreamSettings",
    "VaultSettings",
    "VerifySettings",
]


class Settings(Section):
    """All of it."""

    vault: VaultSettings
    jobs: dict[Name, JobSettings] = Field(default_factory=dict)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    prune: PruneSettings = Field(default_factory=PruneSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    scheduler: SchedulerSettings = Field(default_factory=SchedulerSettings)
    schedule: dict[Name, ScheduleSettings] = Field(default_factory=dict)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    channels: dict[Name, ChannelSettings] = Field(default_factory=dict)
    contacts: dict[Name, ContactSettings] = Field(default_factory=dict)
    escalation: EscalationSettings = Field(default_factory=EscalationSettings)
