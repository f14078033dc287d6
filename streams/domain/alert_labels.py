"""The labels of an alert, by which it is silenced."""

from streams.domain.alert_records import Alert
from streams.domain.silences.matchers import labels_of
from streams.domain.transitions import AlertData


def of_data(data: AlertData) -> dict[str, str]:
    """Return the labels of an alert as receivers are shown it."""
    return labels_of(
        data.labels,
        rule=data.rule,
        severity=data.severity,
        campaign_id=data.campaign_id,
        app_id=data.app_id,
        treatment_id=data.treatment_id,
        channel_type=data.channel_type,
    )


def of_alert(alert: Alert) -> dict[str, str]:
    """Return the same labels of an alert as it is kept; they never change."""
    return labels_of(
        alert.labels,
        rule=alert.rule,
        severity=alert.severity,
        campaign_id=alert.scope.campaign_id,
        app_id=alert.app_id,
        treatment_id=alert.scope.treatment_id,
        channel_type=alert.scope.channel_type,
    )
