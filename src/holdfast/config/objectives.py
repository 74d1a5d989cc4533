"""How old a job's newest snapshot may become: said once, at the job or at the services that it backs up. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.config.schema import Settings

__all__ = ["rpo_faults", "rpo_of"]


def rpo_of(settings: Settings, job: str) -> float | None:
    """Return a job's recovery point objective in seconds: its own, or the least of the services it backs up. None: nobody said."""
    found = settings.jobs.get(job)
    if found is None:
        return None
    if found.rpo_seconds is not None:
        return float(found.rpo_seconds)
    return min((float(rpo) for _, rpo in _served(settings, job)), default=None)


def _served(settings: Settings, job: str) -> Iterator[tuple[str, int]]:
    for name, service in settings.services.items():
        if (service.source or name) == job:
            yield name, service.rpo


def rpo_faults(settings: Settings) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yield each job whose own objective is looser than that of a service it backs up, with the key it stands at."""
    for job, said in settings.jobs.items():
        for name, rpo in _served(settings, job):
            if said.rpo_seconds is not None and said.rpo_seconds > rpo:
                yield ("jobs", job, "rpo_seconds"), f"is looser than services.{name}.rpo, which it backs up"
