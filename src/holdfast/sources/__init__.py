"""Where what is backed up comes from: applications made still by connectors, and the watchdog that sets them going again."""
