"""Every route there is."""

from streams.api import (
    acknowledging,
    alerts,
    campaigns,
    deliveries,
    operations,
    pages,
    receivers,
    replays,
    silences,
    windows,
)

ROUTES = (
    *campaigns.ROUTES,
    *windows.ROUTES,
    *alerts.ROUTES,
    *acknowledging.ROUTES,
    *deliveries.ROUTES,
    *receivers.ROUTES,
    *replays.ROUTES,
    *silences.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)
