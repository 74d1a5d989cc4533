"""Places that hold a vault's objects. A store knows names and bytes; it refuses to know what they mean."""
