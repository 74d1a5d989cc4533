"""What keeps failures from staying silent: alerts and their escalation, the channels they leave by, objectives in danger.

It knows nothing of vaults: it is handed facts and answers with alerts, and it is handed alerts and answers with messages.
"""
