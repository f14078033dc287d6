"""Every route there is."""

from streams.api import (
    alerts,
    campaigns,
    deliveries,
    operations,
    pages,
    receivers,
    silences,
    windows,
)

ROUTES = (
    *campaigns.ROUTES,
    *windows.ROUTES,
    *alerts.ROUTES,
    *deliveries.ROUTES,
    *receivers.ROUTES,
    *silences.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)
