"""Drills: a service is restored into an isolated place, started there, asked, timed and judged; evidence is left, and nothing else.

`plan` decides, `place` makes and sweeps folders, `hold` does, `compare` proves files, `record` and `evidence` keep what was
proved, `verdict` judges, `report` and `runbook` write what people read, `scenarios` break copies on purpose.
"""
