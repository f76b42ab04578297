"""In what order the stages of a run are trained."""

from ups.course import COURSE, control_of, controlled_by, course


def test_each_later_stage_is_followed_by_its_control() -> None:
    assert course(["operator", "consistency_distill", "diff_residual"]) == COURSE == (
        "operator",
        "diff_residual",
        "diff_residual_control",
        "consistency_distill",
        "consistency_distill_control",
    )  # fmt: skip


def test_operator_always_comes_first() -> None:
    assert course([]) == ("operator",)
    assert course(["diff_residual"])[0] == "operator"


def test_control_knows_its_stage() -> None:
    assert controlled_by(control_of("diff_residual")) == "diff_residual"
    assert controlled_by("diff_residual") is None
