"""Every route there is."""

from streams.api import alerts, campaigns, deliveries, operations, pages, windows

ROUTES = (
    *campaigns.ROUTES,
    *windows.ROUTES,
    *alerts.ROUTES,
    *deliveries.ROUTES,
    *operations.ROUTES,
    *pages.ROUTES,
)
