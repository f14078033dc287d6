"""Every route there is."""

from streams.api import (
    acknowledging,
    alerts,
    campaigns,
    changes,
    deliveries,
    groups,
    names,
    operations,
    pagerduty,
    pages,
    periods,
    receivers,
    replays,
    silences,
    streaming,
    windows,
)

ROUTES = (
    *campaigns.ROUTES,
    *windows.ROUTES,
    *periods.ROUTES,
    *alerts.ROUTES,
    *acknowledging.ROUTES,
    *deliveries.ROUTES,
    *receivers.ROUTES,
    *replays.ROUTES,
    *pagerduty.ROUTES,
    *groups.ROUTES,
    *silences.ROUTES,
    *changes.ROUTES,
    *streaming.ROUTES,
    *names.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)
