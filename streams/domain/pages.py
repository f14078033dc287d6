"""Where a person sees on the dashboard what a notification is about: URLs that can be shared.

The dashboard reads them in `streams/api/static/place.js`: what is shown follows from the fragment.
"""

from urllib.parse import quote


def alert_page(base_url: str, alert_id: str) -> str:
    """Return the URL of an alert's page; `base_url` is the API's, without a slash at its end."""
    return f"{base_url}/#/alert/{quote(alert_id, safe='')}"


def campaign_page(base_url: str, campaign_id: str) -> str:
    """Return the URL of a campaign's page."""
    return f"{base_url}/#/campaign/{quote(campaign_id, safe='')}"


def group_page(base_url: str, group_id: str) -> str:
    """Return the URL of the page with all alerts of a group."""
    return f"{base_url}/#/alerts?group_id={quote(group_id, safe='')}"


def silences_page(base_url: str) -> str:
    """Return the URL of the page with the silences."""
    return f"{base_url}/#/rules"
