"""The one door to everything a user can do; the CLI and the TUI call nothing else.

Each operation is a typed method of `Operations`. Long ones are generators, or take a `progress`
callback, and may be run in a thread. Errors are `ups.errors.UpsError`s with a message and a hint.
"""

from console.api import (
    CacheRow as CacheRow,
)
from console.api import (
    CacheVerdict as CacheVerdict,
)
from console.api import (
    Check as Check,
)
from console.api import (
    ConfigEntry as ConfigEntry,
)
from console.api import (
    DatasetRow as DatasetRow,
)
from console.api import (
    DryStep as DryStep,
)
from console.api import (
    FetchResult as FetchResult,
)
from console.api import (
    FleetState as FleetState,
)
from console.api import (
    FollowBatch as FollowBatch,
)
from console.api import (
    GarbageRow as GarbageRow,
)
from console.api import (
    InstanceRow as InstanceRow,
)
from console.api import (
    Inventory as Inventory,
)
from console.api import (
    Launched as Launched,
)
from console.api import (
    LaunchRequest as LaunchRequest,
)
from console.api import (
    Level as Level,
)
from console.api import (
    Market as Market,
)
from console.api import (
    Money as Money,
)
from console.api import (
    NextStep as NextStep,
)
from console.api import (
    PhaseRow as PhaseRow,
)
from console.api import (
    PhaseState as PhaseState,
)
from console.api import (
    PlanState as PlanState,
)
from console.api import (
    Preflight as Preflight,
)
from console.api import (
    PreprocessRequest as PreprocessRequest,
)
from console.api import (
    Progress as Progress,
)
from console.api import (
    ProviderProblem as ProviderProblem,
)
from console.api import (
    RentOptions as RentOptions,
)
from console.api import (
    RunRow as RunRow,
)
from console.api import (
    RunStatus as RunStatus,
)
from console.api import (
    SplitInfo as SplitInfo,
)
from console.api import (
    StoreUsage as StoreUsage,
)
from console.api import (
    TeardownStep as TeardownStep,
)
from console.api import (
    Transition as Transition,
)
from console.api import (
    VolumeRow as VolumeRow,
)
from console.data_operations import DataOperations
from console.fleet.model import InstanceKind as InstanceKind
from console.fleet.model import InstanceState as InstanceState
from console.fleet.model import Offer as Offer
from console.plan_operations import PlanOperations
from console.sweep_api import (
    ComparedRun as ComparedRun,
)
from console.sweep_api import (
    Comparison as Comparison,
)
from console.sweep_api import (
    MemberState as MemberState,
)
from console.sweep_api import (
    PlannedRun as PlannedRun,
)
from console.sweep_api import (
    SweepNews as SweepNews,
)
from console.sweep_api import (
    SweepPreflight as SweepPreflight,
)
from console.sweep_api import (
    SweepRequest as SweepRequest,
)
from console.sweep_api import (
    TaskStanding as TaskStanding,
)
from console.sweep_operations import SweepOperations


class Operations(PlanOperations, DataOperations, SweepOperations):
    """Everything a user can do, over one home. Methods may be called from several threads."""

    def doctor(self) -> list[Check]:
        """What is configured and whether it works; spends and changes nothing."""
        from console.doctor import examine

        return examine(self)
