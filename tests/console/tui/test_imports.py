import subprocess
import sys

_LATER = (
    "numpy",
    "pydantic",
    "h5py",
    "yaml",
    "sqlite3",
    "torch",
    "console.operations",
    "textual.widgets._data_table",
)


def test_the_first_frame_imports_only_what_it_draws() -> None:
    code = f"import sys, console.tui.app; print([m for m in {_LATER!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_run_that_is_looked_at_waits_for_no_config_to_be_understood() -> None:
    never = [*(name for name in _LATER if name != "textual.widgets._data_table"), "ups.config",
             "ups.evaluation.forecast", "console.fleet.model", "console.runs.event_lines"]  # fmt: skip
    code = f"import sys, console.tui.screens.view; print([m for m in {never!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_curve_is_judged_without_masked_arrays() -> None:
    code = (
        "import sys; from tests.console.tui.test_alerts import training\n"
        "from console.tui.alerts import judge\n"
        "judge(training(*range(1, 50)), train_is_finite=True, val=None, level=None)\n"
        "print('numpy.ma' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_no_screen_or_widget_imports_torch_or_numpy_at_import() -> None:
    code = (
        "import sys, pkgutil, importlib, console.tui as t\n"
        "for m in pkgutil.walk_packages(t.__path__, 'console.tui.'): importlib.import_module(m.name)\n"
        "print([m for m in ('torch', 'scipy', 'h5py', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
