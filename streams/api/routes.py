"""Every route there is."""

from streams.api import (
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
    *deliveries.ROUTES,
    *receivers.ROUTES,
    *replays.ROUTES,
    *silences.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)
