"""Data classes: what is how sensitive, and what follows from it."""
