"""Every route there is."""

from streams.api import (
    acknowledging,
    alerts,
    campaigns,
    deliveries,
    operations,
    pages,
    receivers,
    windows,
)

ROUTES = (
    *campaigns.ROUTES,
    *windows.ROUTES,
    *alerts.ROUTES,
    *acknowledging.ROUTES,
    *deliveries.ROUTES,
    *receivers.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)
