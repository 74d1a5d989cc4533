"""One module per thing a person asks for: backup, restore, verify, …; `assembly` alone constructs what they use."""
