"""What keeps failures from staying silent, and operations honest: retry, circuit breakers, alerts and their escalation, the audit log.

It knows nothing of vaults and stores: it is handed facts and answers with alerts, and it is handed alerts and answers with messages.
"""
