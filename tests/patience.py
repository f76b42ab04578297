"""How long tests wait for what comes in a moment on a quiet machine; only one that fails waits so long."""

PATIENCE_S = 120.0
