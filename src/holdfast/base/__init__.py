"""What every layer stands on: the environment (time, randomness, sleep), events and units. Knows nothing of backups."""
