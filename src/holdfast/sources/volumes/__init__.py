"""Volume snapshots: one provider per module, all behind one protocol."""
