"""What a run may take of the machine: budgets, windows, signals of load, and the controller that keeps the application fast.

Knows nothing of backups: it is told how hard a run presses and says how hard it may.
"""
