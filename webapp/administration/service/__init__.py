"""The verbs behind the API, the pages and the command line. Each that changes something asks for an administrator itself
and writes its line of the audit log in the same transaction."""

from webapp.administration.service.quotas import Grant, Meter, grant, grants, meter, meter_of, near, take_back
from webapp.administration.service.retention import SETTINGS as RETENTION
from webapp.administration.service.retention import Going, going, keep, shown, sweep_now
from webapp.administration.service.settings import change, groups, listed

__all__ = ["RETENTION", "Going", "Grant", "Meter", "change", "going", "grant", "grants", "groups", "keep", "listed",
           "meter", "meter_of", "near", "shown", "sweep_now", "take_back"]  # fmt: skip
