import math

import pytest
import torch

from ASDA.core.patches import PatchGrid
from ASDA.core.places import kept_indices
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.objective import Losses
from ASDA.objectives.self_distillation import SelfDistillation
from tests.architectures import make_encoder

B, M, D = 2, 3, 32
Q, PATCH = 8, 16


def objective(seed=0, encoder=None, **options):
    torch.manual_seed(seed)
    arguments = {"embed_dim": D, "depth": 2, "num_heads": 4, "max_rows": 64} | (encoder or {})
    noise = options.pop("mask_noise_std", 0.0)
    model = SelfDistillation(
        make_encoder(**arguments),
        ConvDecoder2d(D, decoder_dim=D, num_layers=2, groups=4, mask_noise_std=noise),
        **({"average_top_k_layers": 2} | options),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
        # A teacher of its own: were it the student, mixing the two up would go unseen.
        for parameter in model.teacher.encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def spectrogram(frames=208, clips=B):
    return torch.randn(clips, 1, frames, Q * PATCH, generator=torch.Generator().manual_seed(1))


def masks(frames=208, clips=B, students=M, **options):
    sampler = InverseBlockMask((frames // PATCH, Q), clips * students, **options)
    return sampler(torch.Generator().manual_seed(2))


def numbers(losses):
    return [*losses.terms.values(), *losses.statistics.values()]


def slow_oracle(model, x, mask, alpha=0.5):
    """As published: every clip repeated for its students, patches picked by boolean masks, one loss after the other.

    Needs mask_noise_std = 0.
    """
    student, teacher = model.encoder, model.teacher.encoder
    B, N = x.shape[0], mask.shape[1]
    students = mask.shape[0] // B

    def embed(encoder, pictures):
        patches = encoder.patch_embed(pictures)
        return patches + encoder.positions[:, : patches.shape[1]]

    with torch.no_grad():
        patches = embed(teacher, x)
        tokens = teacher.stack.norm_first(torch.cat([teacher.prefix_tokens.repeat(B, 1, 1), patches], dim=1))
        target = torch.zeros(B, N, D)
        for block in teacher.stack.blocks:
            tokens, m = block(tokens)
            target += torch.nn.functional.instance_norm(m[:, 1:].transpose(1, 2)).transpose(1, 2) / len(
                teacher.stack.blocks
            )
        target = torch.nn.functional.layer_norm(target, (D,))

    pictures = x.repeat_interleave(students, dim=0)
    target = target.repeat_interleave(students, dim=0)
    patches = embed(student, pictures)
    visible = patches[~mask].view(B * students, -1, D)
    tokens = student.stack.norm_first(torch.cat([student.prefix_tokens.repeat(B * students, 1, 1), visible], dim=1))
    for block in student.stack.blocks:
        tokens, _ = block(tokens)
    cls_token, visible = tokens[:, 0], tokens[:, 1:]
    grid = torch.zeros(B * students, N, D)
    grid[~mask] = visible.reshape(-1, D)
    predicted = model.decoder.decode(grid, PatchGrid(N // Q, Q))

    R = int(mask.sum())
    frame = utterance = 0.0
    for p, t in zip(predicted[mask], target[mask], strict=True):
        frame = frame + ((p - t) ** 2).sum() / math.sqrt(D) / R
    for c, t in zip(cls_token, target, strict=True):
        utterance = utterance + alpha * ((c - t.mean(0)) ** 2).sum() / math.sqrt(D)
    spread = {name: rows[mask] for name, rows in (("pred_var", predicted), ("target_var", target))}
    statistics = {name: (rows.var(0) + 1e-6).sqrt().mean() for name, rows in spread.items()}
    return Losses({"frame": frame, "utterance": utterance}, R, statistics)


@pytest.mark.parametrize(
    ("frames", "encoder"),
    [
        (208, {}),
        (512, {}),
        (96, {"attention": "plain", "mlp_ratio": 4.0}),
        (208, {"num_prefix_tokens": 1, "norm": "pre", "norm_first": True}),
    ],
)
def test_self_distillation__equals_the_published_formulation(frames, encoder):
    model, x, mask = objective(encoder=encoder), spectrogram(frames), masks(frames)
    out, expected = model(x, mask), slow_oracle(model, x, mask)
    R = expected.sample_size
    assert out.sample_size == R == B * M * (frames // PATCH * Q - int(frames // PATCH * Q * 0.2))
    # Both terms come times R: fairseq divides them by the sample size, which is R.
    for term in ("frame", "utterance"):
        torch.testing.assert_close(out.terms[term] / R, expected.terms[term], rtol=1e-5, atol=0)
    for statistic in ("pred_var", "target_var"):
        torch.testing.assert_close(out.statistics[statistic], expected.statistics[statistic], rtol=1e-5, atol=0)

    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad((out.terms["frame"] + out.terms["utterance"]) / R, parameters.values())
    oracle = torch.autograd.grad(expected.terms["frame"] + expected.terms["utterance"], parameters.values())
    for name, gradient, other in zip(parameters, gradients, oracle, strict=True):
        assert (gradient - other).norm() < 1e-4 * other.norm(), name


def test_self_distillation__weights_scale_their_term_only():
    x, mask = spectrogram(), masks()
    base = objective()(x, mask)
    other = objective(utterance_weight=2.0, frame_weight=0.25)(x, mask)
    torch.testing.assert_close(other.terms["utterance"], 4 * base.terms["utterance"])  # 0.5 by default
    torch.testing.assert_close(other.terms["frame"], 0.25 * base.terms["frame"])


def test_self_distillation__utterance_term_sums_over_the_students():
    model, x = objective(), spectrogram()
    mask = masks()
    once = model(x, mask)
    twice = model(x, mask.view(B, M, -1).repeat(1, 2, 1).flatten(0, 1))  # every student two times
    torch.testing.assert_close(
        twice.terms["utterance"] / twice.sample_size, 2 * once.terms["utterance"] / once.sample_size
    )
    torch.testing.assert_close(twice.terms["frame"] / twice.sample_size, once.terms["frame"] / once.sample_size)


def test_self_distillation__trains_student_and_decoder_only():
    model = objective(mask_noise_std=0.01).train()
    before = {name: p.clone() for name, p in model.teacher.encoder.named_parameters()}
    out = model(spectrogram(), masks())
    (out.terms["frame"] + out.terms["utterance"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name
    for name, parameter in model.teacher.encoder.named_parameters():
        assert parameter.grad is None, name
        assert torch.equal(parameter, before[name]), name
    assert not any(out.statistics[name].requires_grad for name in ("pred_var", "target_var"))


def test_self_distillation__learned_lambda_is_trained():
    model = objective(encoder={"lambda_mode": "learned"})
    out = model(spectrogram(), masks())
    (out.terms["frame"] + out.terms["utterance"]).backward()
    names = [name for name, p in model.named_parameters() if "lambda_" in name and p.grad.abs().max() > 0]
    assert len(names) == 2 * 4


def test_self_distillation__teacher_is_no_parameter():
    model = objective()
    teachers = {id(p) for p in model.teacher.encoder.parameters()}
    assert not teachers & {id(p) for p in model.parameters()}
    assert {name.split(".")[0] for name in model.state_dict()} == {"encoder", "decoder"}


def test_self_distillation__target_is_that_of_the_whole_clip_in_float32():
    model = objective()
    target = model.target(spectrogram())
    assert target.shape == (B, 13 * Q, D)
    assert target.dtype == torch.float32
    assert not target.requires_grad
    torch.testing.assert_close(target.mean(-1), torch.zeros(B, 13 * Q), rtol=0, atol=1e-5)
    torch.testing.assert_close(target.var(-1, unbiased=False), torch.ones(B, 13 * Q), rtol=1e-3, atol=0)


def test_self_distillation__target_averages_the_last_layers():
    model, x = objective(encoder={"depth": 3}, average_top_k_layers=1), spectrogram()
    last = model.teacher.layer_outputs(x, 3)[2]
    expected = torch.nn.functional.layer_norm(
        torch.nn.functional.instance_norm(last.transpose(1, 2)).transpose(1, 2), (D,)
    )
    torch.testing.assert_close(model.target(x), expected, rtol=1e-4, atol=1e-5)


def test_self_distillation__hidden_places_get_noise():
    x, mask = spectrogram(), masks()
    silent, noisy = objective(mask_noise_std=0.0), objective(mask_noise_std=0.5)
    assert torch.equal(silent(x, mask).terms["frame"], silent(x, mask).terms["frame"])
    torch.manual_seed(0)
    first = noisy(x, mask)
    assert not torch.equal(noisy(x, mask).terms["frame"], first.terms["frame"])
    assert torch.equal(noisy(x, mask).terms["utterance"], first.terms["utterance"])  # CLS sees none of it
    torch.manual_seed(0)
    assert torch.equal(noisy(x, mask).terms["frame"], first.terms["frame"])


def test_self_distillation__student_does_not_see_what_is_hidden():
    model, x = objective(), spectrogram(clips=1)
    mask = masks(clips=1, students=1)
    changed = x.clone()
    for n in mask[0].nonzero()[:, 0].tolist():
        row, column = divmod(n, Q)
        changed[0, 0, PATCH * row : PATCH * (row + 1), PATCH * column : PATCH * (column + 1)] = 7.0
    assert not torch.equal(model.target(changed), model.target(x))
    predictions = [model.encoder.features(y, kept=kept_indices(mask)) for y in (x, changed)]
    assert torch.equal(*predictions)


def test_self_distillation__clips_do_not_mix():
    model, mask = objective(), masks()
    x = spectrogram()
    both = model(x, mask)
    alone = [model(x[b : b + 1], mask[M * b : M * (b + 1)]) for b in range(B)]
    for term, expected in (
        ("frame", sum(a.terms["frame"] for a in alone)),
        ("utterance", 2 * sum(a.terms["utterance"] for a in alone)),
    ):
        torch.testing.assert_close(both.terms[term], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("frames", [208, 512, 1024])
def test_self_distillation__takes_clips_of_other_lengths(frames):
    model = objective(mask_noise_std=0.01)
    out = model(spectrogram(frames), masks(frames))
    assert all(math.isfinite(out.terms[term].item()) and out.terms[term].item() > 0 for term in ("frame", "utterance"))
    N = frames // PATCH * Q
    assert out.sample_size == B * M * (N - N // 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_self_distillation__teacher_stays_float32_when_the_model_is_cast(dtype):
    model, x, mask = objective(), spectrogram(), masks()
    expected = model(x, mask)
    before = {name: p.clone() for name, p in model.teacher.encoder.named_parameters()}
    assert model.to(dtype) is model
    assert {p.dtype for p in model.parameters()} == {dtype}
    for name, parameter in model.teacher.encoder.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, before[name])
    out = model(x.to(dtype), mask)
    for term in ("frame", "utterance"):
        assert out.terms[term].dtype == torch.float32
        torch.testing.assert_close(out.terms[term], expected.terms[term], rtol=0.02, atol=0)
    (out.terms["frame"] / out.sample_size).backward()
    assert model.encoder.prefix_tokens.grad.dtype == dtype


def test_self_distillation__runs_under_autocast():
    model, x, mask = objective(), spectrogram(), masks()
    expected = model(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x, mask)
    for own, other in zip(numbers(out), numbers(expected), strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, other, rtol=0.02, atol=0)


def test_self_distillation__teacher_moves_with_the_model():
    model = objective().to("meta")
    assert {p.device.type for p in model.teacher.encoder.parameters()} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_self_distillation__gpu_agrees_with_cpu():
    model, x, mask = objective(), spectrogram(), masks()
    expected = model(x, mask)
    out = model.cuda()(x.cuda(), mask.cuda())
    for own, other in zip(numbers(out), numbers(expected), strict=True):
        torch.testing.assert_close(own.cpu(), other, rtol=1e-3, atol=0)
    model.teacher.update(model.encoder, 1)
    assert {p.device.type for p in model.teacher.encoder.parameters()} == {"cuda"}


@pytest.mark.long
def test_self_distillation__learns_to_predict_the_teacher():
    model, x, mask = objective(mask_noise_std=0.01).train(), spectrogram(96), masks(96)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for update in range(1, 31):
        out = model(x, mask)
        loss = (out.terms["frame"] + out.terms["utterance"]) / out.sample_size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.teacher.update(model.encoder, update)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("top_k", [0, 3])
def test_self_distillation__rejects_more_layers_than_there_are(top_k):
    with pytest.raises(ValueError, match=rf"average_top_k_layers \({top_k}\) must be between 1 and depth \(2\)"):
        objective(average_top_k_layers=top_k)


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (masks(512), "6 masks that keep 306 and hide 1230 patches in all"),
        (masks()[:5], r"\(5, 104\)"),
        (masks().view(B, M, -1), r"\(2, 3, 104\)"),
    ],
)
def test_self_distillation__rejects_masks_of_another_shape(mask, found):
    with pytest.raises(ValueError, match=rf"expected masks of shape \(2 x students, (104|patches)\), got {found}"):
        objective()(spectrogram(), mask)
