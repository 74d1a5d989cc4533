"""What keeps an operation honest when something fails: retry, circuit breakers, and the audit log. Knows no store, no vault."""
