"""The analysis of findings.sh on maps and scores whose answer is known, and the script from end to end."""

import json
import re

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.attention import Attention, DifferentialAttention
from ASDA.core.attention_maps import LayerAttention
from ASDA.core.config import PatchConfig
from ASDA.core.differential_v2 import DifferentialAttentionV2
from ASDA.core.patches import PatchGrid
from ASDA.demo.places import QUIET, Place
from ASDA.inference import load_encoder
from ASDA.inference.attention import ClipAttention
from ASDA.launch.ablation.grid_file import find_grid, read_grid_file
from ASDA.launch.settings import LaunchError
from ASDA.reports.ablation import Ablation, Comparison, SettingResult
from benchmarks import attended_places, event_attention, grid_report, shorter_grid
from benchmarks.attended_places import FIRST, KINDS, QUERIES, WHOLE
from tests.published_files import published_pretraining
from tests.test_benchmarks import rows_of, run_script, write_samples

GRID = PatchGrid(4, 8)  # of 160 ms
N, S = GRID.num_patches, 1 + GRID.num_patches
EVENT, HUSH = Place("/demo/beep", 0.16, 0.32, 0.0, 8_000.0), Place(QUIET, 0.32, 0.64, 0.0, 8_000.0)


def clip(*layers: LayerAttention, num_real_frames: int = 64) -> ClipAttention:
    return ClipAttention(
        torch.zeros(64, 128), num_real_frames, list(layers), GRID, PatchConfig((16, 16)), 1, FrontEnd(64)
    )


def attention(*maps: torch.Tensor, coefficients=(1.0,), heads: int = 2) -> LayerAttention:
    """Each of the maps (S, S), or a row for all that ask (S,), in every head."""
    whole = [each.expand(heads, S, S) for each in maps]
    return LayerAttention(torch.stack(whole)[None], coefficients)


def on(*tokens: int) -> torch.Tensor:
    """A row that looks at these tokens alike."""
    row = torch.zeros(S)
    row[list(tokens)] = 1 / len(tokens)
    return row


# -- where patches are


def test_patch_extents__fill_the_clip_without_gaps():
    time_s, band_hz = attended_places.patch_extents(clip())
    assert time_s[:: GRID.columns].tolist() == [
        pytest.approx(pair) for pair in ([0, 0.16], [0.16, 0.32], [0.32, 0.48], [0.48, 0.64])
    ]
    first_row = band_hz[: GRID.columns]
    assert torch.equal(first_row[1:, 0], first_row[:-1, 1]) and (first_row[:, 1] > first_row[:, 0]).all()
    assert first_row[0, 0] < 40 and 7_800 < first_row[-1, 1] < 8_000
    assert torch.equal(band_hz[GRID.columns :], first_row.repeat(GRID.rows - 1, 1))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 4.0, [True, True, True, True]),
        (0.5, 3.5, [True, True, True, True]),  # half of the outer ones
        (0.6, 3.4, [False, True, True, False]),
        (1.2, 1.4, [False, True, False, False]),  # what is narrower than a patch lies in it
        (1.875, 2.125, [False, True, True, False]),  # half of it in each
        (1.8, 2.1, [False, True, False, False]),
        (5.0, 6.0, [False, False, False, False]),
    ],
)
def test_covered__shares_half_of_the_shorter(low, high, expected):
    extents = torch.tensor([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    assert attended_places.covered(extents, low, high).tolist() == expected


def test_kinds_of__each_real_patch_is_of_one_kind():
    events, noise, quiet = attended_places.kinds_of(clip(), [EVENT, HUSH])
    assert events.nonzero()[:, 0].tolist() == list(range(8, 16))  # the second row, all of its columns
    assert noise.nonzero()[:, 0].tolist() == list(range(8)) and quiet.nonzero()[:, 0].tolist() == list(range(16, 32))
    of_padded = attended_places.kinds_of(clip(num_real_frames=40), [EVENT, HUSH])
    assert of_padded.sum(dim=1).tolist() == [8, 8, 8] and not of_padded[:, 24:].any()


def test_kinds_of__an_event_in_the_quiet_stretch_is_an_event():
    beep = Place("/demo/beep", 0.32, 0.48, 3_000.0, 3_001.0)
    events, _, quiet = attended_places.kinds_of(clip(), [HUSH, beep])
    _, band_hz = attended_places.patch_extents(clip())
    (patch,) = events.nonzero()[:, 0].tolist()
    assert 16 <= patch < 24 and band_hz[patch, 0] < 3_000 < band_hz[patch, 1] and not quiet[patch]


# -- how much of the attention they have


def excess(layer: LayerAttention, **settings) -> torch.Tensor:
    of = clip(layer, **settings)
    return attended_places.excess(of, attended_places.kinds_of(of, [EVENT, HUSH]))[:, :, 0]


def test_excess__of_attention_to_all_alike_is_none():
    found = excess(attention(torch.full((S,), 1 / S)))
    assert found.shape == (len(QUERIES), 2, len(KINDS)) and found.abs().max() < 1e-6
    assert excess(attention(torch.full((S,), 1 / S)), num_real_frames=40).abs().max() < 1e-6


def test_excess__of_attention_to_an_event_is_the_rest_of_the_area():
    found = excess(attention(on(0, 1 + 8)))  # and to CLS, which is no patch
    assert found[0, WHOLE].tolist() == pytest.approx([0.75, -0.25, -0.5])
    assert found[0, FIRST].tolist() == pytest.approx([0.75, -0.25, -0.5])


def test_excess__what_asks_is_told_apart():
    rows = on(1 + 8).repeat(S, 1)
    rows[0] = on(1 + 16)  # CLS looks at what is quiet
    found = excess(attention(rows))
    assert found[QUERIES.index("patches"), WHOLE].tolist() == pytest.approx([0.75, -0.25, -0.5])
    assert found[QUERIES.index("CLS"), WHOLE].tolist() == pytest.approx([-0.25, -0.25, 0.5])


def test_excess__a_second_map_takes_away_what_both_look_at():
    both = attention(on(1, 1 + 8), on(1), coefficients=(1.0, -0.5))  # noise and event, less half of the noise
    whole, first = excess(both)[0]
    assert whole.tolist() == pytest.approx([0.75, -0.25, -0.5]) and first.tolist() == pytest.approx([0.25, 0.25, -0.5])


def test_excess__negative_weight_counts_by_its_size():
    both = attention(on(1 + 8), on(1), coefficients=(1.0, -0.5))
    assert excess(both)[0, WHOLE].tolist() == pytest.approx([2 / 3 - 0.25, 1 / 3 - 0.25, -0.5])


def test_looked_at__needs_a_token_beside_the_patches():
    of = ClipAttention(torch.zeros(64, 128), 64, [], GRID, PatchConfig((16, 16)), 0, FrontEnd(64))
    with pytest.raises(ValueError, match="expected an encoder with a CLS token"):
        attended_places.looked_at(of, attention(on(1)))


# -- the maps shown are those used


@pytest.mark.parametrize("kind", [Attention, DifferentialAttention, DifferentialAttentionV2])
def test_by_explicit_maps__is_what_the_layer_computes(kind):
    torch.manual_seed(0)
    layer, x = kind(16, 4).double(), torch.randn(2, 7, 16, dtype=torch.float64)
    with torch.no_grad():
        assert (attended_places.by_explicit_maps(layer, x) - layer(x)).abs().max() < 1e-6


def test_largest_gap__sees_maps_that_are_not_used(tmp_path, monkeypatch):
    torch.save(published_pretraining(), tmp_path / "a.pt")
    encoder = load_encoder(tmp_path / "a.pt", target_length_frames=64)
    noise = (np.random.default_rng(0).normal(0, 0.1, 5_000).astype(np.float32), 16_000)
    assert attended_places.largest_gap(encoder, noise) < 1e-5
    monkeypatch.setattr(DifferentialAttention, "map_coefficients", lambda self, x: (1.0, 0.0))
    assert attended_places.largest_gap(encoder, noise) > 1e-3


# -- what is said of it


def seen() -> event_attention.Seen:
    """Two seeds, two layers; the first setting has 10 and 12 points more weight on events than the second."""
    numbers = np.zeros((2, len(QUERIES), 2, 2, len(KINDS)))
    reference = numbers.copy()
    reference[0, 0, WHOLE, :, 0], reference[1, 0, WHOLE, :, 0] = 0.10, 0.12
    of = {"lambda 0.3": reference, "plain": numbers}
    pictures = {name: [np.ones(tuple(GRID))] * 2 for name in of}
    return event_attention.Seen([1, 2], of, np.array([0.25, 0.25, 0.5]), 1e-7, pictures, clip())


def test_event_attention__table_and_sentences_say_what_the_seeds_tell(tmp_path):
    (tmp_path / "out.md").write_text(event_attention.table(seen(), "patches"))
    rows = rows_of(tmp_path / "out.md")
    assert [row[0] for row in rows[:3]] == ["events, layer 1", "events, layer 2", "events, all layers"]
    assert rows[2][1:] == ["+11.0 (-1.7 to +23.7)", "+0.0 (+0.0 to +0.0)", "+11.0 (-1.7 to +23.7)"]
    lines = event_attention.sentences(seen()).splitlines()
    assert lines[0].startswith("* weight on events, asked by patches, lambda 0.3 against plain: +11.0 points")
    assert "which includes 0" in lines[0]
    assert any("lambda 0.3, the difference against its first map: +11.0 points" in line for line in lines)


def test_event_attention__draws_weight_by_area_and_the_maps(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from ASDA.reports import attention_figures

    drawn = []
    monkeypatch.setattr(attention_figures, "save", lambda figure, file: drawn.append((figure, file.name)))
    event_attention.draw(seen(), tmp_path / "out.md")
    (by_layer, first), (maps, second) = drawn
    assert (first, second) == ("out.png", "out_clip.png")
    assert [axis.get_ylabel() for axis in by_layer.axes] == [f"{kind}: weight / area" for kind in KINDS]
    line = by_layer.axes[0].lines[0]
    assert list(line.get_ydata()) == pytest.approx([1 + 0.11 / 0.25] * 2)
    assert sum(axis.get_title() == "layer 2, plain" for axis in maps.axes) == 1


def ablation(name: str = "demo_lambda_tasks", **values: dict[str, list[float]]) -> Ablation:
    """Settings -> score -> values by seed; the first is the reference."""
    reference = next(iter(values))
    settings = []
    for setting, scores in values.items():
        found = {}
        for score, numbers in scores.items():
            gains = {
                seed: number - values[reference][score][seed - 1]
                for seed, number in enumerate(numbers, 1)
                if setting != reference
            }
            found[score] = Comparison(dict(enumerate(numbers, 1)), gains)
        settings.append(SettingResult(setting, "", found, {1: 0.5}, {}))
    return Ablation(name, reference, (1, 2, 3), settings, ["`asda-ablate`", "a machine"])


HIGH, LOW, VAGUE = [0.80, 0.81, 0.82], [0.50, 0.51, 0.52], [0.49, 0.83, 0.60]


def test_grid_report__reads_what_asda_ablate_writes(tmp_path):
    whole = ablation(a={"x": HIGH, "y": LOW}, b={"x": LOW, "y": VAGUE})
    (tmp_path / "table.json").write_text(json.dumps(whole.content()))
    assert grid_report.read_ablation(tmp_path / "table.json") == whole
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="expected table.json of asda-ablate"):
        grid_report.read_ablation(tmp_path / "other.json")


def test_grid_report__tells_what_overlaps():
    (line,) = grid_report.told(ablation(a={"x": LOW}, b={"x": HIGH}, c={"x": VAGUE}))
    assert line == (
        "* x: told from a, in points: b (+30.0 (+30.0 to +30.0)); intervals that include 0, so that the seeds tell no "
        "difference: c."
    )
    (line,) = grid_report.told(ablation(a={"x": LOW[:1]}, b={"x": HIGH[:1]}))
    assert line == "* x: by one seed, which tells nothing: b."


def test_grid_report__the_best_and_what_it_is_told_from():
    one, two = grid_report.best_of(ablation(a={"x": LOW, "y": LOW}, b={"x": HIGH, "y": VAGUE}))
    assert one == "* x: b has the highest mean (81.0 %), told from a."
    assert two == "* y: b has the highest mean (64.0 %), told from none of the others."


def test_grid_report__a_dependence_on_the_task_needs_opposite_signs():
    crossed = grid_report.crossings(ablation(a={"x": LOW, "y": HIGH}, b={"x": HIGH, "y": LOW}))
    assert crossed.startswith("Of 2 intervals (all pairs, all scores) 2 leave 0 out; by chance 0.1 would.")
    assert crossed.endswith("a is above b in y, and below in x.")
    for other in (HIGH, VAGUE):  # the same sign, or one that is not told
        same = grid_report.crossings(ablation(a={"x": LOW, "y": LOW}, b={"x": HIGH, "y": other}))
        assert same.endswith("no dependence on the task is seen.")


def test_grid_report__holds_table_sentences_and_limits(tmp_path):
    (tmp_path / "table.json").write_text(json.dumps(ablation("demo_students", a={"x": LOW}, b={"x": HIGH}).content()))
    arguments = ["--table", str(tmp_path / "table.json"), "--command", "make it", "--took", "5 minutes"]
    assert grid_report.main([*arguments, "--output", str(tmp_path / "out.md")]) == 0
    text = (tmp_path / "out.md").read_text()
    assert text.startswith("`make it`\n\nDo more students pay?") and "a machine; it took 5 minutes" in text
    assert rows_of(tmp_path / "out.md")[1][-2:] == ["+30.0 (+30.0 to +30.0) *", "0.5"]
    assert "told from a, in points: b" in text and "What this does not show" in text


# -- shorter grids


def test_shorter_grid__later_words_win_and_the_rest_stays():
    whole = read_grid_file(find_grid("demo_lambda_tasks"))
    short = shorter_grid.shorter_grid(
        "demo_lambda_tasks", [4], "optimization.max_update=2", "optimization.max_update=3", ["samples"]
    )
    assert short["seeds"] == [4] and short["settings"] == whole["settings"] and list(short["tasks"]) == ["samples"]
    assert re.findall(r"max_update=\S+", short["pretraining"]) == ["max_update=2"]
    assert re.findall(r"max_update=\S+", short["tasks"]["samples"]["finetuning"]) == ["max_update=3"]
    assert short["tasks"]["samples"]["probe"] == "mean" and "+size=tiny" in short["pretraining"]
    probed = shorter_grid.shorter_grid("demo_lambda_tasks", probe_alone=True)
    assert list(probed["tasks"].values()) == [{"probe": "mean"}] * 4
    same = shorter_grid.shorter_grid("demo_lambda_tasks")
    assert same["seeds"] == [1, 2, 3] and same["pretraining"].split() == whole["pretraining"].split()


def test_shorter_grid__unknown_names_are_refused():
    with pytest.raises(LaunchError, match="there is no grid nothing"):
        shorter_grid.shorter_grid("nothing")
    with pytest.raises(ValueError, match="there is no task songs; expected some of events, polyphony, samples, speech"):
        shorter_grid.shorter_grid("demo_lambda_tasks", tasks=["songs"])


# -- the script


@pytest.mark.slow
@pytest.mark.long
def test_findings_script__writes_its_tables_and_goes_on(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    write_samples(tmp_path / "sonic-pi" / "samples")
    settings = {"DATA": str(tmp_path), "TASKS": "samples", "SEEDS": "1", "NUM_CLIPS": "150", "JOBS": "1"}
    settings |= {"PLACED_CLIPS": "150", "COST_FLAGS": "--tiny"}
    settings["OUTPUT"] = str(tmp_path / "out")
    assert run_script(
        "findings.sh", tmp_path, table="out/lambda_tasks.md", **settings, QUESTIONS="attention cost lambda"
    )
    by_probe = {"QUESTIONS": "students cls", "FINETUNING_UPDATES": "0"}
    assert run_script("findings.sh", tmp_path, table="out/cls_place.md", **settings | by_probe)
    tables = {file.name: rows_of(file) for file in (tmp_path / "out").rglob("*.md")}
    assert {name: len(rows) for name, rows in tables.items() if name != "event_attention.md"} == {
        "attention_cost.md": 8,
        "students_equal_work.md": 4,
        "cls_place.md": 2,
        "lambda_tasks.md": 4,
    }
    assert len(tables["event_attention.md"]) == 2 * 15 + 5
    pictures = {file.name for file in (tmp_path / "out").glob("*.png")}
    assert pictures == {"event_attention.png", "event_attention_clip.png"}
    scores = [cell for row in tables["lambda_tasks.md"] for cell in row[3:-1:2]]
    assert len(scores) == 4 * 2 and all(re.fullmatch(r"[0-9.]+ %", cell) for cell in scores)
    work = tmp_path / "work"
    runs = sorted(file.parents[1] for file in work.rglob("pretrained/checkpoint_last.pt"))
    assert len(runs) == 3 + 4 + 2 + 4
    logs = {run: (run / "output.txt").read_text() for run in runs}
    taken_over = logs[work / "demo_lambda_tasks" / "runs" / "lambda_0" / "seed1"]
    assert len(re.findall(r"=== \S+ \S+ pretraining: ", taken_over)) == 1 and str(work / "demo_attention") in taken_over
    again = run_script(
        "findings.sh", tmp_path, table="out/lambda_tasks.md", **settings, QUESTIONS="attention cost lambda"
    )
    assert again == tables["lambda_tasks.md"] and {run: (run / "output.txt").read_text() for run in runs} == logs
