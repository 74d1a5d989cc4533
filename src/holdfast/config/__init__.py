"""Configuration: one schema that loader, manual, sample and `explain` all come from; every value knows where it is from.

config = holdfast.config.load("holdfast.toml")
config.settings.jobs["ehr"].paths
config.origin("jobs.ehr.exclude")
"""

from __future__ import annotations

from holdfast.config.load import Config, Origin, load, loads
from holdfast.config.options import Option, option_for, options
from holdfast.config.schema import (
    AlertSettings,
    BackupSettings,
    ChannelSettings,
    ClassRuleSettings,
    ContactSettings,
    DrillCheckSettings,
    DrillSettings,
    EscalationRowSettings,
    EscalationSettings,
    GovernorSettings,
    JobSettings,
    LevelSettings,
    LimitSettings,
    MonitoringSettings,
    MoveSettings,
    PolicySettings,
    ProbeSettings,
    PruneSettings,
    RetentionSettings,
    SchedulerSettings,
    ScheduleSettings,
    ServiceSettings,
    Settings,
    SpoolSettings,
    StoreSettings,
    StreamSettings,
    TierSettings,
    VaultSettings,
    VerifySettings,
    WindowSettings,
)
from holdfast.config.secrets import SecretRef

__all__ = [
    "AlertSettings",
    "BackupSettings",
    "ChannelSettings",
    "ClassRuleSettings",
    "Config",
    "ContactSettings",
    "DrillCheckSettings",
    "DrillSettings",
    "EscalationRowSettings",
    "EscalationSettings",
    "GovernorSettings",
    "JobSettings",
    "LevelSettings",
    "LimitSettings",
    "MonitoringSettings",
    "MoveSettings",
    "Option",
    "Origin",
    "PolicySettings",
    "ProbeSettings",
    "PruneSettings",
    "RetentionSettings",
    "ScheduleSettings",
    "SchedulerSettings",
    "SecretRef",
    "ServiceSettings",
    "Settings",
    "SpoolSettings",
    "StoreSettings",
    "StreamSettings",
    "TierSettings",
    "VaultSettings",
    "VerifySettings",
    "WindowSettings",
    "load",
    "loads",
    "option_for",
    "options",
]
