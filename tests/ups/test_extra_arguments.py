"""`TRAIN_EXTRA_ARGS` is split as a shell would, and only what is known gets through."""

from pathlib import Path

import pytest

from ups.config import load_train_config
from ups.errors import ConfigError
from ups.extra_arguments import KEYS, SWITCHES, parse

CONFIGS = Path(__file__).parents[2] / "configs"
VALUES = {"--latent-dim": "64", "--hidden-dim": "64", "--num-heads": "2", "--dt": "0.1", "--lr": "1e-3"}


@pytest.mark.parametrize("option", [*KEYS, *SWITCHES])
@pytest.mark.parametrize("config", ["train_pdebench_2task_baseline", "train_pdebench_mixed_modality"])
def test_every_option_sets_keys_of_a_config(option: str, config: str) -> None:
    words = option if option in SWITCHES else f"{option} {VALUES.get(option, '3')}"
    overrides = parse(words).overrides
    assert overrides
    load_train_config(CONFIGS / f"{config}.yaml", overrides)


def test_what_the_training_script_took() -> None:
    found = parse(
        "--stage operator --epochs=1 --set 'logging.wandb.tags=[a b, c]' training.dt=0.2 --tasks a,b --no-amp"
    )
    assert (found.stage, found.tasks) == ("operator", ("a", "b"))
    assert found.overrides == (
        "stages.operator.epochs=1", "logging.wandb.tags=[a b, c]", "training.dt=0.2", "training.amp=false",
    )  # fmt: skip
    assert parse("") == parse("  ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--bacth-size 4 -q --foo=1 words", "unknown: --bacth-size, -q, --foo=1, words"),
        ("--epochs", "--epochs lacks its value"),
        ("--epochs --stage operator", "--epochs lacks its value"),
        ("--set training.dt", "no KEY=VALUE"),
        ("--set 'a=b", "a quote is opened"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="TRAIN_EXTRA_ARGS") as caught:
        parse(text)
    assert message in caught.value.message


def test_a_misspelt_option_is_told_its_neighbour() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("--bacth-size 4")
    assert "--batch-size" in caught.value.hint
