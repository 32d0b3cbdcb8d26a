"""The parser of the benchmark's profile, against text in the form that TensorFlow Lite's `StatsCalculator` prints."""

import json
import random

import pytest

from bitat_tf.deployment.profile import parse_profile

ROWS = [
    ("LceQuantize", 0.052, "[quant_conv2d/where]:0"),
    ("LceBconv2d", 3.404, "[model/quant_conv2d;batch_normalization/add 1]:1"),
    ("ADD", 0.301, "[]:2"),
    ("LceBconv2d", 2.804, "[model/quant_conv2d_1]:3"),
    ("TfLiteXNNPackDelegate", 1.011, "[a, b]:9"),
]
INNER = [
    ("Convolution (NHWC, F32) IGEMM", 0.7, "Delegate/Convolution (NHWC, F32) IGEMM:0"),
    ("Add (ND, F32)", 0.3, "Delegate/Add:1"),
]
TIMINGS = "Inference timings in us: Init: 30870, First inference: 12491, Warmup (avg): 8034.5, Inference (avg): 7603.22"


def table(title, names, widths, rows):
    lines = [f"{'=' * 30} {title} {'=' * 30}"]
    for row in [names, *rows]:
        lines.append("".join("\t" + str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)))
    return "\n".join(lines) + "\n\n"


def order(rows, title="Run Order", start=False):
    total, done, lines = sum(row[1] for row in rows), 0.0, []
    for number, (kind, time, name) in enumerate(rows):
        done += time
        share, sum_of_shares = (f"{100 * value / total:.3f}%" for value in (time, done))
        line = [kind, f"{number:.3f}", f"{time + 0.1:.3f}", f"{time:.3f}", share, sum_of_shares, "0.000", 1, name]
        lines.append(line if start else line[:1] + line[2:])
    names = ["[node type]", "[start]", "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]", "[Name]"]
    widths = [24, 17, 9, 9, 8, 8, 10, 9, 0]
    return table(title, names if start else names[:1] + names[2:], widths if start else widths[:1] + widths[2:], lines)


def summary(rows):
    kinds = dict.fromkeys(row[0] for row in rows)
    total, done, lines = sum(row[1] for row in rows), 0.0, []
    for kind in sorted(kinds, key=lambda kind: -sum(row[1] for row in rows if row[0] == kind)):
        own = [row[1] for row in rows if row[0] == kind]
        done += sum(own)
        shares = [f"{100 * value / total:.3f}%" for value in (sum(own), done)]
        lines.append([kind, len(own), f"{sum(own):.3f}", *shares, "0.000", len(own)])
    names = ["[Node type]", "[count]", "[avg ms]", "[avg %]", "[cdf %]", "[mem KB]", "[times called]"]
    return f"Number of nodes executed: {len(rows)}\n" + table("Summary by node type", names, [24, 9, 10, 11, 11, 10, 10], lines)


def profile(rows, start=False):
    text = order(rows, start=start) + order(sorted(rows, key=lambda row: -row[1]), "Top by Computation Time", start)
    times = "Timings (microseconds): count=50 first=7592 curr=7554 min=7545 max=7725 avg=7572 std=22\nMemory (bytes): count=0\n"
    return text + summary(rows) + times + f"{len(rows)} nodes observed\n\n"


def printed(rows=tuple(ROWS), inner=tuple(INNER), start=False):
    beginning = [("ModifyGraphWithDelegate", 4.3, "ModifyGraphWithDelegate/0"), ("AllocateTensors", 8.0, "AllocateTensors/0")]
    text = "INFO: STARTING!\nINFO: Graph: [model.tflite]\nINFO: count=50 first=7592 curr=7554\n\n"
    text += f"INFO: {TIMINGS}\nINFO: Profiling Info for Benchmark Initialization:\n" + profile(beginning, start)
    text += "INFO: Operator-wise Profiling Info for Regular Benchmark Runs:\n" + profile(list(rows), start)
    return text + (f"Delegate internal: \n{profile(list(inner), start)}" if inner else "")


@pytest.mark.parametrize("start", [False, True], ids=["TensorFlow 2.10 and later", "before"])
@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\t", "  ")])
def test_rows_and_sums(start, change):
    report = parse_profile(change(printed(start=start)))
    assert [(row.node_type, row.milliseconds, row.name) for row in report.operators] == ROWS
    assert [(row.node_type, row.milliseconds, row.name) for row in report.delegated] == INNER
    total = sum(row[1] for row in ROWS)
    assert report.operators[1].percent == pytest.approx(100 * 3.404 / total, abs=1e-3)
    assert [(row.node_type, row.count) for row in report.types] == [
        ("LceBconv2d", 2),
        ("TfLiteXNNPackDelegate", 1),
        ("ADD", 1),
        ("LceQuantize", 1),
    ]
    assert report.binary_ms == pytest.approx(0.052 + 3.404 + 2.804)
    assert report.binary_ms + report.other_ms == pytest.approx(total)
    times = (report.initialization_ms, report.first_ms, report.warmup_ms, report.inference_ms)
    assert times == pytest.approx((30.870, 12.491, 8.0345, 7.60322))


def test_table_and_json():
    report = parse_profile(printed())
    lines = report.table().splitlines()
    assert lines[2] == "| LceBconv2d | 2 | 6.208 | 82.0 |"
    assert lines[-4] == "| **binary** | 3 | 6.260 | 82.7 |"
    assert lines[-3] == "| **others** | 2 | 1.312 | 17.3 |"
    assert lines[-1] == "Average of a run: 7.603 ms."
    assert json.loads(json.dumps(report.to_dict()))["operators"][0]["node_type"] == "LceQuantize"


def test_a_profile_without_delegate_and_timings():
    report = parse_profile(printed(inner=()).replace(TIMINGS, ""))
    assert report.delegated == ()
    assert report.inference_ms is None
    assert "Average" not in report.table()


def test_other_subgraphs_are_part_of_what_calls_them():
    text = printed(inner=())
    text = (
        text.replace("Runs:\n", "Runs:\nPrimary graph profile:\n")
        + "Subgraph (index: 1) profile:\n"
        + profile([("MUL", 9.0, "[x]:0")])
    )
    assert parse_profile(text) == parse_profile(printed(inner=()))


def test_shares_of_no_time_are_zero():
    text = printed([("ADD", 1.0, "[a]:0")], ()).replace("100.000%", "-nan%")
    assert parse_profile(text).operators[0].percent == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Received: an empty text. Run lce_benchmark_model with --enable_op_profiling=true"),
        (f"INFO: STARTING!\n{TIMINGS}\n", "Received: 3 lines without it"),
        (printed().split("Operator-wise")[0], "the profile must be there"),
        (
            "Operator-wise Profiling Info for Regular Benchmark Runs:",
            "must have the table 'Run Order'. Received: one that is cut",
        ),
        (printed(inner=()).rsplit("Summary by node type", 1)[0], "must have the table 'Summary by node type'"),
        (printed(inner=()).replace("[avg ms]", "[mean]"), "'Run Order' must have the columns .*'avg ms'"),
        (
            printed(inner=()).replace("\t    3.404\t", "\t    fast!\t", 1),
            "must hold numbers. Received: 'fast!' of 'LceBconv2d'",
        ),
        (printed(inner=()).replace("\t    3.404\t", "\t", 1), "must have 8 columns. Received: 7 in 'LceBconv2d"),
        (
            printed(inner=()).replace("\t                     ADD\t        1", "\t                     ADD\t        4"),
            "the same operators",
        ),
        ("node type, start, first\n" + printed(inner=()).replace("\t", ", "), "A profile that was written as CSV is not read"),
    ],
)
def test_what_is_no_profile_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_profile(text)


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="expected the text that the benchmark printed. Received: bytes"):
        parse_profile(printed().encode())


def test_a_cut_off_or_damaged_profile_is_refused_or_gives_the_same():
    """Never another error, and never a part of the operators."""
    text, generator = printed(inner=()), random.Random(0)
    whole = parse_profile(text)
    for end in range(0, len(text), 7):
        try:
            assert parse_profile(text[:end]) == whole
        except ValueError:
            pass
    for _ in range(1000):
        place = generator.randrange(len(text))
        try:
            parse_profile(text[:place] + generator.choice(["", "\0", "\t", "\n", "x", "%", "  ", "é"]) + text[place + 1 :])
        except ValueError:
            pass
