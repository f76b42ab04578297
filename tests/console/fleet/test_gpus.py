import pytest

from console.fleet import gpus
from ups.errors import UsageError


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("RTX_4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("RTX_4090", "NVIDIA GeForce RTX 4090"),
        ("A6000", "RTX A6000"),
        ("RTX_6000_Ada", "RTX 6000Ada"),
        ("H100", "H100 SXM"),
        ("H100", "NVIDIA_H100_NVL"),
        ("H100_SXM", "H100 SXM5"),
        ("A100", "NVIDIA A100-SXM4-80GB"),
        ("V100", "Tesla V100"),
        ("H200", "H200 NVL"),
    ],
)
def test_one_gpu_has_many_spellings(wanted: str, offered: str) -> None:
    assert gpus.is_meant(wanted, offered)


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("RTX_4090", "RTX 4090D"),
        ("RTX_3090", "RTX 3090 Ti"),
        ("RTX_4080", "RTX 4080S"),
        ("L40", "L40S"),
        ("A10", "A100 PCIE"),
        ("H100_SXM", "H100 PCIE"),
        ("H200", "GH200 SXM"),
        ("RTX_4090", "RTX 3090"),
        ("RTX_A6000", "RTX 6000Ada"),
        ("", "RTX 4090"),
        ("RTX", "RTX 4090"),
    ],
)
def test_a_cheaper_cousin_is_not_what_was_ordered(wanted: str, offered: str) -> None:
    assert not gpus.is_meant(wanted, offered)


def test_every_known_name_means_itself() -> None:
    assert all(gpus.is_meant(gpus.written(name), name) for name in gpus.KNOWN)


def test_names_come_in_the_order_of_preference() -> None:
    assert gpus.resolve(["RTX_5090", "RTX_4090"]) == ("RTX 5090", "RTX 4090")
    assert set(gpus.resolve(["H100"])) == {"H100 NVL", "H100 PCIE", "H100 SXM"}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("RTX_4O90", "RTX_4090"), ("H1000", "H100"), ("RTX4900", "RTX_4090"), ("A10O", "A10")],
)
def test_an_unknown_gpu_names_its_neighbours(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=wrong) as error:
        gpus.resolve([wrong])
    assert right in error.value.hint
    assert error.value.exit_code == 2


def test_a_gpu_that_only_the_market_knows_is_found() -> None:
    with pytest.raises(UsageError):
        gpus.resolve(["RTX_9090"])
    assert gpus.resolve(["RTX_9090"], ["RTX 9090"]) == ("RTX 9090",)
