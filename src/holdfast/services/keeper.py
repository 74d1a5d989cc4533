"""The first process of a cell's namespaces: it shuts the cell off, says so, and lives as long as the drill does.

Run by `services.isolation` as a program of its own, with the standard library only, so it starts in a moment and does not
depend on what it shields. When the drill's end of the pipe closes, however the drill died, it ends; being the first process
of its process namespace, its end kills everything in the cell and releases every mount.

What it does inside the mount namespace that was made for it: every mount becomes read-only but for the drill's own folder;
`/dev/shm` is the cell's own; folders to conceal are covered by empty ones. In the network namespace only the loopback comes up:
there is no way out.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
import sys

__all__ = ["main", "mounts_to_close", "parse_mounts"]

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
KEPT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
"""Options of a mount that must be named again when it is remounted, or the kernel refuses."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def parse_mounts(text: str) -> list[tuple[str, frozenset[str]]]:
    """Return mount points and their options from the text of /proc/self/mountinfo (proc(5)); octal escapes are undone."""
    found = []
    for row in text.splitlines():
        fields = row.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        found.append((point, frozenset(fields[5].split(","))))
    return found


def mounts_to_close(mounts: list[tuple[str, frozenset[str]]], writable: list[str]) -> list[tuple[str, frozenset[str]]]:
    """Return the mounts that become read-only: all but the writable folders and what the kernel keeps of its own."""
    own = ("/proc", "/dev", "/sys")

    def within(point: str, folder: str) -> bool:
        return point == folder or point.startswith(folder.rstrip("/") + "/")

    return [
        (point, options)
        for point, options in mounts
        if "ro" not in options
        and not any(within(point, folder) for folder in writable)
        and not any(within(point, folder) for folder in own)
    ]


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    raw = [None if value is None else os.fsencode(value) for value in (source, target, kind, data)]
    if libc.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), raw[3]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _shut(writable: list[str], conceal: list[str]) -> list[str]:
    """Shut the mount namespace off; return what could not be closed or concealed."""
    failed = []
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    for folder in writable:
        _mount(folder, folder, None, MS_BIND | MS_REC)  # a drill's data may be a mount in its folder
    for target in conceal:
        try:
            if os.path.isdir(target):
                _mount("none", target, "tmpfs", MS_RDONLY, "size=4k,mode=0555")
            elif os.path.exists(target):
                _mount("/dev/null", target, None, MS_BIND)
        except OSError as error:
            failed.append(f"conceal: {error.strerror}")
    with open("/proc/self/mountinfo") as file:
        mounts = parse_mounts(file.read())
    for point, options in mounts_to_close(mounts, writable):
        flags = sum(flag for name, flag in KEPT.items() if name in options)
        try:
            _mount(None, point, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)
        except OSError as error:
            failed.append(f"close: {error.strerror}")
    if os.path.isdir("/dev/shm"):  # noqa: S108 - a new one of the cell's own
        try:
            _mount("none", "/dev/shm", "tmpfs", 0, "mode=1777")  # noqa: S108 - as above
        except OSError as error:
            failed.append(f"shared memory: {error.strerror}")
    return failed


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(channel, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(channel, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def main() -> int:
    """Shut the cell off as the first line of standard input says, report in one line, and wait for the end of the pipe."""
    wanted = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries what dies here
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the drill decides, not a terminal
    answer: dict[str, object] = {"ok": True}
    try:
        _loopback_up()
        answer["failed"] = _shut(wanted["writable"], wanted["conceal"])
    except OSError as error:
        answer = {"ok": False, "why": error.strerror or "unknown"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    if answer["ok"]:
        sys.stdin.buffer.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
