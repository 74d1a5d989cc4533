"""What a host is made of: collected where it is backed up, kept as a small file in the snapshot, read where it is restored."""
