"""The repository: keys, sessions, snapshots, index, retention, prune and check, over one home store.

Everything here follows `docs/format` to the byte. Decisions are pure functions that return plans; effects take a plan.
Ids are 32 hex digits, hashes 64, as in the names of objects. It refuses to know where files come from.
"""
