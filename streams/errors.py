"""Errors that a person can act on.

A `UserError` ends a command with one line on standard error and its exit status; there is no
traceback. Anything else that escapes is a defect.
"""


class UserError(Exception):
    """Something the person at the terminal can put right: one line that names it and says how."""

    exit_code = 1


class UsageError(UserError):
    """Wrong usage or configuration."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A key or value of the configuration that cannot be used."""


class BrokerUnavailableError(UserError):
    """The Kafka cluster cannot be reached or refuses this client."""


class TopicError(UserError):
    """A topic that is missing or not as the configuration says."""


class FormatError(UserError):
    """Something in Kafka that another version of the program, or another configuration, wrote."""


class RightsError(UserError):
    """A right on Kafka that the cluster does not give to this client."""


class UnavailableError(UserError):
    """Something that cannot be reached or done now; trying again may help."""
