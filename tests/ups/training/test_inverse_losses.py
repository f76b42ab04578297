"""Encoder and decoder as each other's inverse: what the losses see, pull on, and leave alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ups.training.jobs import curve, make_job, run_job, tiny_config
from ups.config import TrainConfig
from ups.data.sampling import probe_windows
from ups.models.operator import LatentOperator
from ups.training.augment import to_device
from ups.training.batch import Moment, TensorBatch
from ups.training.inverse_losses import inverse_losses
from ups.training.losses import PROBED_AT, WeightedLoss, operator_losses, require_reach
from ups.training.objective import predict
from ups.training.setup import new_operator, open_data

Datasets = dict[str, dict[str, Path]]
INVERSE = {"use_inverse_losses": True, "lambda_inv_enc": 0.01, "lambda_inv_dec": 0.01}
QUERIES = {"query_sampling": {"enabled": True, "num_queries": 20, "strategy": "stratified"}}


def learning(**training: Any) -> TrainConfig:
    return tiny_config(**{**INVERSE, **training})


def prepared(config: TrainConfig, datasets: Datasets) -> tuple[LatentOperator, dict[str, TensorBatch]]:
    data = open_data(config, datasets)
    model = new_operator(config, data, 0)[0]
    return model, {task: to_device(probe_windows(entry.pairs), "cpu") for task, entry in data.items()}


def terms(config: TrainConfig) -> dict[str, WeightedLoss]:
    return {loss.name: loss for loss in inverse_losses(config.training)}


def disturb(model: LatentOperator, scale: float = 0.1) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "coder_refinement" in name:
                parameter += scale * torch.randn_like(parameter)


def value(model: LatentOperator, loss: WeightedLoss, batch: TensorBatch) -> float:
    return float(loss.compute(model, batch, predict(model, batch)).detach())


def gradients(model: LatentOperator, loss: WeightedLoss, batch: TensorBatch) -> dict[str, float]:
    model.zero_grad(set_to_none=True)
    loss.compute(model, batch, predict(model, batch)).backward()
    return {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("queries", [{}, QUERIES], ids=["every cell", "queries"])
def test_both_losses_reach_for_every_task(datasets: Datasets, queries: dict[str, Any]) -> None:
    config = learning(**queries)
    model, batches = prepared(config, datasets)
    assert [loss.name for loss in operator_losses(config)] == ["relative_l2", "inv_enc", "inv_dec"]
    require_reach(model, operator_losses(config), batches, predict)


@pytest.mark.parametrize("name", ["inv_enc", "inv_dec"])
def test_untrained_codec_is_left_alone(datasets: Datasets, name: str) -> None:
    """The rounding of a lossless codec must not be amplified to a step of the optimizer."""
    config = learning()
    model, batches = prepared(config, datasets)
    for batch in batches.values():
        assert value(model, terms(config)[name], batch) < 1e-6
        assert max(gradients(model, terms(config)[name], batch).values()) < 1e-2


@pytest.mark.parametrize("name", ["inv_enc", "inv_dec"])
@pytest.mark.parametrize("task", ["advection1d", "darcy2d"])
def test_drifted_codec_is_pulled_back_and_the_operator_is_not_moved(
    datasets: Datasets, name: str, task: str
) -> None:
    config = learning(**QUERIES)
    model, batches = prepared(config, datasets)
    with torch.no_grad():  # so that a static task predicts something
        for parameter in model.trunk.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    disturb(model)
    loss, batch = terms(config)[name], batches[task]
    found = gradients(model, loss, batch)
    assert found
    assert all("coder_refinement" in parameter for parameter in found)
    assert any("encoder_refinement" in parameter and size > 1e-4 for parameter, size in found.items())
    assert any("decoder_refinement" in parameter and size > 1e-4 for parameter, size in found.items())
    weights = [p for p_name, p in model.named_parameters() if "coder_refinement" in p_name]
    optimizer = torch.optim.Adam(weights, lr=3e-3)
    first = value(model, loss, batch)
    for _ in range(60):
        gradients(model, loss, batch)
        optimizer.step()
    assert value(model, loss, batch) < 0.3 * first


def test_queried_error_estimates_the_error_over_all_cells(datasets: Datasets) -> None:
    everywhere = learning()
    model, batches = prepared(everywhere, datasets)
    disturb(model)
    many = learning(query_sampling={"enabled": True, "num_queries": 200, "strategy": "stratified"})
    batch = batches["darcy2d"]
    exact, sampled = (value(model, terms(config)["inv_enc"], batch) for config in (everywhere, many))
    assert sampled == pytest.approx(exact, rel=0.4)


def test_more_queries_than_cells_are_every_cell(datasets: Datasets) -> None:
    config = learning(query_sampling={"enabled": True, "num_queries": 4096})
    model, batches = prepared(config, datasets)
    disturb(model)
    batch = batches["advection1d"]
    assert value(model, terms(config)["inv_enc"], batch) == value(model, terms(learning())["inv_enc"], batch)


def test_directions_that_no_field_shows_do_not_count(datasets: Datasets) -> None:
    config = learning()
    model, batches = prepared(config, datasets)
    batch, loss = batches["advection1d"], terms(config)["inv_dec"]
    prediction = predict(model, batch)
    basis = model.head("advection1d").target.basis
    assert basis.shape[0] > basis.shape[1]
    hidden = torch.randn_like(prediction.latents)
    hidden = hidden - hidden @ basis @ basis.T
    shown = loss.compute(model, batch, replace(prediction, latents=prediction.latents + hidden))
    assert float(shown.detach()) < 1e-6


def test_weight_rises_is_capped_and_keeps_to_its_frequency() -> None:
    config = learning(
        lambda_inv_enc=0.2,
        inverse_loss_warmup_epochs=4,
        inverse_loss_max_weight=0.05,
        inverse_loss_frequency=3,
    )
    weight = terms(config)["inv_enc"].weight
    assert [weight(Moment(epoch, 0)) for epoch in (0.0, 1.0, 2.5, 4.0, 9.0)] == pytest.approx(
        [0.0, 0.0125, 0.03125, 0.05, 0.05]
    )
    assert [weight(Moment(9.0, step)) > 0 for step in range(5)] == [True, False, False, True, False]
    assert weight(PROBED_AT) == pytest.approx(0.05)
    assert terms(config)["inv_dec"].weight(PROBED_AT) == pytest.approx(0.01)


def test_without_inverse_losses_there_is_nothing_to_learn_in_the_codec(datasets: Datasets) -> None:
    for training in ({}, {"lambda_inv_enc": 0.01}, {"use_inverse_losses": True}):
        config = tiny_config(**training)
        assert inverse_losses(config.training) == ()
        assert not [name for name, _ in prepared(config, datasets)[0].named_parameters() if "coder" in name]


def test_run_with_inverse_losses_draws_their_curves_and_learns(tmp_path: Path, datasets: Datasets) -> None:
    config = learning(**QUERIES, inverse_loss_warmup_epochs=1, lambda_spectral=0.05)
    config = config.model_copy(update={"encoder": config.encoder.model_copy(update={"learning_rate": 1e-3})})
    job = make_job(tmp_path / "run", datasets, config)
    run_job(job)
    points = curve(job, "train")
    for task in ("advection1d", "darcy2d"):
        (*_, last) = [values for _, _, name, values in points if name == task]
        assert any(key.endswith("inv_enc") for key in last)
        assert any(key.endswith("spectral") for key in last)
    for *_, values in curve(job, "val")[-3:-1]:
        assert values["nrmse"] < 0.9 * values["persistence"]
