"""The sets of tasks that the learning benchmarks train on."""

TASK_SETS = {
    2: ("advection1d", "darcy2d"),
    4: ("advection1d", "darcy2d", "burgers1d", "reaction_diffusion2d"),
}
"""Size → tasks."""
