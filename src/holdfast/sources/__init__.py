"""Where data comes from: volume snapshots, application connectors, what runs on this host."""
