"""Shipped test suites and generators: file trees, every oddity of a file system, random changes."""
