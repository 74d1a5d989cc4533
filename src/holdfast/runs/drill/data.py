"""The application's data in a drill's folder: brought to where its user reaches it, and given to that user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.runs.drill.place import DrillFolder

__all__ = ["give", "move_data", "open_way"]


def move_data(folder: DrillFolder, data: str) -> str | None:
    """Move the application's data to where its user reaches it; return where it is. None if it is not there."""
    if not data:
        return folder.restored
    place = os.path.join(folder.restored, data.lstrip("/"))
    if os.path.realpath(place) != place or not os.path.lexists(place):
        return None
    os.rename(place, folder.data)
    return folder.data


def open_way(folder: DrillFolder, data: str) -> str | None:
    """Let the application's user pass through the mount to its data; return where it is. None if it is not there."""
    place = os.path.join(folder.restored, data.lstrip("/")) if data else folder.restored
    if os.path.realpath(place) != place or not os.path.lexists(place):
        return None
    above = os.path.dirname(place)
    while os.geteuid() == 0 and above.startswith(folder.restored):
        os.chmod(above, os.stat(above).st_mode & 0o7777 | 0o011)
        above = os.path.dirname(above)
    return place


def give(folder: DrillFolder, data: str, user: int, group: int) -> None:
    """Give the drill's copies to the application's user where they would be root's."""
    if os.geteuid() != 0:
        return
    os.chown(folder.run, user, group)
    if os.lstat(data).st_uid == 0:
        os.lchown(data, user, group)
        for inner, folders, names in os.walk(data):
            for name in (*folders, *names):
                os.lchown(os.path.join(inner, name), user, group)
