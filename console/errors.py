"""Errors of the console: what can go wrong between the laptop, the providers and the runs."""

from ups.errors import UpsError


class ProviderError(UpsError):
    """A provider refused, could not be reached, or answered something malformed."""

    code, exit_code = "provider", 5


class LostAnswerError(ProviderError):
    """The answer to a create call was lost: it may have rented an instance."""


class OfferGoneError(ProviderError):
    """Somebody else has rented the offer; nothing was rented."""


class LoginError(ProviderError):
    """The provider does not accept the key."""


class RunFailedError(UpsError):
    """The run ended as failed, or was lost."""

    code, exit_code = "run_failed", 7


class OverBudgetError(UpsError):
    """A cap (per run, per day) forbids it."""

    code, exit_code = "over_budget", 8


class TeardownNotVerifiedError(UpsError):
    """The instance was told to go, but its absence was not observed."""

    code, exit_code = "teardown_not_verified", 9
