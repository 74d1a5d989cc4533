"""Mounted snapshots: to look into, and to work on at once while the data comes."""
