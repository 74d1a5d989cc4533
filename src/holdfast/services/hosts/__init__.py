"""A whole host made again: what its disks must become, making them so, its boot loader, and the check that it would start.

`plan` decides, `disks` makes and mounts, `boot` says what installs the boot loader, `check` looks and asks by chroot.
"""
