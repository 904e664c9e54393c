import pytest
import torch

from ASDA.objectives.ema_teacher import EmaTeacher, LinearDecay
from tests.architectures import make_encoder

TINY = {"embed_dim": 32, "depth": 3, "num_heads": 4, "num_mel_bins": 8, "patch_size": 4, "max_rows": 12}


def encoder(seed=0, **options):
    torch.manual_seed(seed)
    return make_encoder(**(TINY | options))


def change(student, seed):
    """Stands in for an optimiser step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter))


def spectrogram(clips=2):
    return torch.randn(clips, 1, 24, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("update", "decay"),
    [
        (0, 0.9998),
        (1, 0.9998000019),
        (101, 0.9998001919),
        (50_000, 0.999895),
        (99_999, 0.9999899981),
        (100_000, 0.99999),
        (800_000, 0.99999),
    ],
)
def test_linear_decay__is_the_published_schedule(update, decay):
    assert LinearDecay()(update) == pytest.approx(decay, abs=1e-14)


def test_linear_decay__takes_its_own_ends():
    decay = LinearDecay(start=0.5, end=0.9, anneal_updates=4)
    assert [decay(n) for n in range(6)] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 0.9])


def test_linear_decay__constant_without_annealing():
    assert LinearDecay(start=0.5, end=0.9, anneal_updates=0)(0) == 0.9


def test_ema_teacher__starts_as_a_copy_of_its_own():
    student = encoder()
    teacher = EmaTeacher(student, LinearDecay())
    before = {name: p.clone() for name, p in student.named_parameters()}
    change(student, 0)
    kept = dict(teacher.encoder.named_parameters())
    assert kept.keys() == before.keys()
    for name, parameter in before.items():
        assert torch.equal(kept[name], parameter), name
    assert not any(p.requires_grad for p in kept.values())
    assert teacher.num_updates == 0


def test_ema_teacher__equals_a_moving_average_by_loops():
    student, decay = encoder(), LinearDecay(start=0.6, end=0.9, anneal_updates=4)
    teacher = EmaTeacher(student, decay)
    oracle = {name: p.double().flatten().tolist() for name, p in student.named_parameters()}
    for update in range(1, 7):
        change(student, update)
        teacher.update(student, update)
        d = 0.6 + (0.9 - 0.6) * update / 4 if update < 4 else 0.9
        for name, parameter in student.named_parameters():
            now = parameter.detach().flatten().tolist()
            oracle[name] = [d * old + (1 - d) * new for old, new in zip(oracle[name], now, strict=True)]
        assert teacher.num_updates == update
    for name, parameter in teacher.encoder.named_parameters():
        expected = torch.tensor(oracle[name], dtype=torch.float64).view_as(parameter)
        torch.testing.assert_close(parameter.double(), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_ema_teacher__leaves_the_student_alone():
    student = encoder()
    teacher = EmaTeacher(student, LinearDecay(start=0.5))
    change(student, 0)
    before = {name: p.clone() for name, p in student.named_parameters()}
    teacher.update(student, 1)
    for name, parameter in student.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ema_teacher__averages_a_half_precision_student_in_float32(dtype):
    student = encoder()
    teacher = EmaTeacher(student, LinearDecay(start=0.9998))
    start = teacher.encoder.prefix_tokens.clone()
    student.to(dtype)
    with torch.no_grad():
        student.prefix_tokens.fill_(2.0)
    for update in range(1, 4):
        teacher.update(student, update)
    assert {p.dtype for p in teacher.encoder.parameters()} == {torch.float32}
    expected = 2.0 + (start.double() - 2.0)
    for update in range(1, 4):
        expected = 2.0 + (expected - 2.0) * LinearDecay()(update)
    # A step of 0.0002 of the distance is lost in half precision: near 1 its numbers lie 0.001 and 0.008 apart.
    torch.testing.assert_close(teacher.encoder.prefix_tokens.double(), expected, rtol=0, atol=1e-6)


def test_ema_teacher__copies_a_half_precision_student_to_float32():
    teacher = EmaTeacher(encoder().bfloat16(), LinearDecay())
    assert {p.dtype for p in teacher.encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("prefixes", [0, 1, 2])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_ema_teacher__hands_out_the_mlp_outputs_of_its_last_layers(top_k, prefixes):
    student = encoder(num_prefix_tokens=prefixes)
    teacher = EmaTeacher(student, LinearDecay())
    seen = []
    for block in teacher.encoder.stack.blocks:
        block.mlp.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    outputs = teacher.layer_outputs(spectrogram(), top_k)
    assert len(seen) == 3
    assert len(outputs) == top_k
    for output, whole in zip(outputs, seen[-top_k:], strict=True):
        assert output.shape == (2, 12, 32)
        assert not output.requires_grad
        assert torch.equal(output, whole[:, prefixes:])


def test_ema_teacher__has_no_dropout_while_the_student_trains():
    student = encoder(
        drop_path=(0.5, 0.5), attention_dropout=0.5, projection_dropout=0.5, activation_dropout=0.5, mlp_dropout=0.5
    ).train()
    teacher = EmaTeacher(student, LinearDecay())
    first, second = (teacher.layer_outputs(spectrogram(), 3) for _ in range(2))
    plain = EmaTeacher(encoder(), LinearDecay()).layer_outputs(spectrogram(), 3)
    for a, b, c in zip(first, second, plain, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.005), (torch.bfloat16, 0.04)])
def test_ema_teacher__computes_in_the_precision_of_the_spectrograms(dtype, tolerance):
    teacher = EmaTeacher(encoder(), LinearDecay())
    x = spectrogram().to(dtype)
    for output, expected in zip(teacher.layer_outputs(x, 3), teacher.layer_outputs(x.float(), 3), strict=True):
        assert output.dtype == dtype
        assert expected.dtype == torch.float32
        assert (output - expected).norm() < tolerance * expected.norm()


def test_ema_teacher__moves_to_another_device():
    teacher = EmaTeacher(encoder(), LinearDecay())
    assert teacher.to(torch.device("meta")) is teacher
    assert {p.device.type for p in teacher.encoder.parameters()} == {"meta"}
