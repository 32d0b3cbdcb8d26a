"""`docs/benchmarks.md` from the results."""

from typing import Any

MIB = "MiB"


def page(results: dict[str, Any]) -> str:
    """Return the page as Markdown.

    Args:
        results: The results of the cases by name, `growth`, `versions` and `seconds`.
    """
    return "\n".join(
        [
            "# Benchmarks",
            "What the mathematics costs. Written by `make benchmarks` (`python -m benchmarks`); every ratio is between two",
            "measurements of one run. Each case runs in a process of its own; memory is the peak of resident memory above what",
            "was resident when the case started, its input data included in the latter. How fast files run is in",
            "[runtime_figures.md](runtime_figures.md) and [deployment_figures.md](deployment_figures.md).",
            "",
            f"{results['machine']}. {results['versions']}. The whole run took {results['seconds'] / 60:.0f} minutes.",
            "",
            "## Statistics of a 3x3 convolution",
            '512 -> 512 channels on 14x14 maps (d = 4,608), "same" with ones, 1,024 images of signs '
            f'({results["statistics-full"]["data_mib"]:.0f} {MIB}, not counted). "Over 256 groups" is k-means and all moments.',
            "",
            "| way | seconds | against numpy | memory |",
            "|---|---|---|---|",
            *_statistics_rows(results),
            "",
            "1,024 -> 1,024 channels on 7x7 maps (d = 9,216), 1,024 images:",
            "",
            "| way | seconds | memory |",
            "|---|---|---|",
            *(
                f"| {name} | {results[case]['seconds']:.1f} | {results[case]['peak_mib']:,.0f} {MIB} |"
                for name, case in (("over 256 groups", "wide-groups"), ("full C", "wide-full"))
            ),
            "",
            "The full covariance of so many inputs is announced, and of more refused:",
            "",
            f"> {results['wide-refused']['warning']}",
            "",
            f"> {results['wide-refused']['error']}",
            "",
            "## s and V",
            "| inputs or groups | seconds | memory |",
            "|---|---|---|",
            *(
                f"| {results[case]['inputs']:,} | {results[case]['seconds']:.3g} | {results[case]['peak_mib']:,.0f} {MIB} |"
                for case in ("disentangle-256", "disentangle-4608")
            ),
            "",
            "## A training step with the disentangled loss",
            "ReActNet-A (width 1) on 32x32 pictures, batch 64, k = 256: steps of two networks in turn, one built without the",
            "losses, the other with the loss of one layer active; medians of the ratios of 15 pairs. A step takes",
            f"{_step(results)}.",
            "",
            "| layer that is being quantized | d | m | with the loss / without |",
            "|---|---|---|---|",
            *(
                f"| {row['layer']} | {row['inputs']:,} | {row['outputs']:,} | {row['ratio']:.3f} |"
                for row in results["training-step"]["layers"]
            ),
            f"| none (all losses switched off) | | | {results['training-step']['inactive_ratio']:.3f} |",
            "",
            "## Flips",
            f"Flip descent for d = 1,152, m = 128: {results['flips']['seconds']:.2f} s. What it does in a network that was",
            "trained on the digits (ReActNet, 3 blocks), made binary by `binarize_post_training` with 1,024 pictures "
            f"({results['network-flips']['seconds']:.1f} s, peak {results['network-flips']['peak_mib']:,.0f} {MIB}):",
            "",
            "| layer | Q_rel of sign(w_ref) | after flips | ratio |",
            "|---|---|---|---|",
            *(
                f"| {row['layer']} | {row['sign']:.3f} | {row['flips']:.3f} | {row['flips'] / row['sign']:.2f} |"
                for row in results["network-flips"]["layers"]
            ),
            _medians(results["network-flips"]["layers"]),
            "",
            "The more inputs a layer has, the more flips gain: the 3x3 layers go below half, the 1x1 layers, of 64 and 128",
            "inputs, do not.",
            "",
            "## How the costs grow",
            "![seconds against d, k, m and the number of images](images/growth.png)",
            "",
            "Where nothing else is named: d = 1,152 (for the loss 4,608), m = 256, 128 images of 14x14. The slope is the power",
            "of the size, fitted to all points of a line; small sizes pay for what does not grow.",
        ]
    )


def _statistics_rows(results: dict[str, Any]) -> list[str]:
    numpy_seconds = results["statistics-numpy"]["seconds"]
    names = {
        "statistics-groups": "`GroupedMoments`, over 256 groups",
        "statistics-full": "`PatchMoments`, full C",
        "statistics-numpy": "`extract_patches`, then `numpy.cov`",
    }
    return [
        f"| {name} | {results[case]['seconds']:.1f} | {numpy_seconds / results[case]['seconds']:.1f}x | "
        f"{results[case]['peak_mib']:,.0f} {MIB} |"
        for case, name in names.items()
    ]


def _medians(layers: list[dict[str, Any]]) -> str:
    signs, flips = (sorted(row[name] for row in layers) for name in ("sign", "flips"))
    middle = [(values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2 for values in (signs, flips)]
    return f"| median | {middle[0]:.3f} | {middle[1]:.3f} | {middle[1] / middle[0]:.2f} |"


def _step(results: dict[str, Any]) -> str:
    seconds = [row[which] for row in results["training-step"]["layers"] for which in ("without", "with")]
    return f"{min(seconds):.1f} to {max(seconds):.1f} s"
