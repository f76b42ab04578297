"""Errors of the console: what can go wrong between the laptop, the providers and the runs."""

from ups.errors import UpsError


class ProviderError(UpsError):
    """A provider refused, could not be reached, or answered something malformed."""

    code, exit_code = "provider", 5


class LostAnswerError(ProviderError):
    """The answer to a create call was lost: it may have rented an instance."""


class OfferGoneError(ProviderError):
    """Somebody else has rented the offer; nothing was rented."""


class AskedTooOftenError(ProviderError):
    """The provider wants to be left alone for a moment; nothing was rented."""


class LoginError(ProviderError):
    """The provider does not accept the key."""


class UnreachableError(ProviderError):
    """The instance cannot be reached now; it may live, and cost money."""


class NeverStartsError(UpsError):
    """The instance stopped before it could be reached: another machine may do."""

    code, exit_code = "provider", 5


class UnfitError(NeverStartsError):
    """The instance cannot do what it was rented for: another machine may."""


class ImageError(UpsError):
    """The image cannot be had, on this machine or any other."""

    code, exit_code = "provider", 5


class StoppedError(UpsError):
    """Somebody has asked to end what was about to start."""

    code, exit_code = "run_failed", 7


class BootstrapError(ProviderError):
    """The instance can be reached, but the runtime cannot be installed on it."""


class HostKeyChangedError(LoginError):
    """Another machine answers at the instance's address; nothing was sent to it."""


class RunFailedError(UpsError):
    """The run ended as failed, or was lost."""

    code, exit_code = "run_failed", 7


class OverBudgetError(UpsError):
    """A cap (per run, per day) forbids it."""

    code, exit_code = "over_budget", 8


class TeardownNotVerifiedError(UpsError):
    """The instance was told to go, but its absence was not observed."""

    code, exit_code = "teardown_not_verified", 9
