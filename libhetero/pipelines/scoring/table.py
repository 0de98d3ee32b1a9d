"""Scores as lines for people: a summary of the main numbers first, then every number with its definition."""

from __future__ import annotations

import math
from typing import Any

WIDTH = 34


def finite(value: Any) -> Any:
    """Return JSON types with None in place of numbers that do not exist."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | int | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def _line(name: str, *cells: float | int | str | None) -> str:
    shown = [cell if isinstance(cell, str) else _number(cell) for cell in cells]
    return f"  {name:{WIDTH}s}" + "".join(f"{cell:>10s}" for cell in shown)


def table(values: dict[str, Any]) -> list[str]:
    """Return the lines of the printed report."""
    lines = [
        f"run {values['run']} ({values['family']}), truth {values['truth']} ({values['kind']}), "
        f"{values['particles']} particles"
    ]
    if summary := _summary_lines(values):
        lines += ["", "In short (definitions below)", *summary]
    if values.get("labels"):
        lines += _label_lines(values["labels"])
    if "gaussians" in values:
        lines += _gaussian_lines(values["gaussians"])
    if {"contrast", "junk", "poses"} & set(values):
        lines += _particle_lines(values)
    if "volumes" in values:
        lines += _volume_lines(values["volumes"], values["mask"])
    if len(lines) == 1:
        lines.append("nothing to score: this truth has neither labels, atoms nor maps for this run.")
    return lines


def _summary_lines(values: dict[str, Any]) -> list[str]:
    """Return one line for each main result: the number that a reader looks for first."""
    lines = []
    whole = {name: row for name, row in values.get("labels", {}).items() if "piece" not in row}
    if whole:
        name = max(whole, key=lambda name: whole[name]["ari"] or 0.0)
        shown = "k-means of latents" if name == "kmeans" else name
        lines.append(_line("particles in their true classes", f"ARI {_number(whole[name]['ari'])}", f"  ({shown})"))
    gaussians = values.get("gaussians", {})
    if "regions" in gaussians:
        row = gaussians["regions"]
        lines.append(_line("pieces recovered as regions", f"{row['recovered']} of {row['pieces']}"))
    if "percentile" in gaussians.get("amplitude", {}):
        row = gaussians["amplitude"]["percentile"]
        optional = f"  ({_number(row['optional'])} in the optional pieces)"
        lines.append(_line("accuracy of Gaussians' amplitudes", row["all"], optional))
    if "motion" in gaussians:
        row = gaussians["motion"]
        still = f"  ({_number(row['rmsd_without_motion'])} for no motion)"
        lines.append(_line("error of Gaussians' motion (Å)", row["rmsd_about_mean"], still))
    if "poses" in values:
        row = values["poses"]
        given = f"  ({_number(row['given']['rotation'])} as given)"
        lines.append(_line("error of poses, median (degrees)", row["refined"]["rotation"], given))
    if "volumes" in values:
        scale = "  (0: one map for all; 1: true classes)"
        lines.append(_line("volumes: gap to the truth closed", values["volumes"]["gap_closed"], scale))
    return lines


def _label_lines(scores: dict[str, Any]) -> list[str]:
    names = ("ARI", "AMI", "NMI", "accuracy", "in class")
    lines = ["", "Classes of particles against true labels", _line("", *names)]
    for name, row in scores.items():
        title = f"k-means of mid_00.txt, k = {row['classes']}" if name == "kmeans" else name
        if "piece" in row:
            title = f"{name}, piece {row['piece']}"
        cells = (row[key] for key in ("ari", "ami", "nmi", "accuracy", "in_class"))
        lines.append(_line(title, *cells))
    lines += [
        "  accuracy: after Hungarian matching, a particle in no class is wrong; ARI, AMI and NMI: of the",
        "  particles in a class, whose share is the last column; k: the true number of classes;",
        "  classes of a region: against the presence of the piece they fit best.",
    ]
    return lines


def _gaussian_lines(scores: dict[str, Any]) -> list[str]:
    lines = [
        "",
        f"{scores['gaussians']} Gaussians of {scores['particles']} particles, each matched to its "
        f"closest atom ({scores['mean_distance_to_atom']:.2f} Å away on average)",
    ]
    if "amplitude" in scores:
        lines.append(_line("amplitude accuracy", "all", "optional", "trivial"))
        for name, row in scores["amplitude"].items():
            title = f"reference: {name}"
            lines.append(_line(title, row["all"], row["optional"], row["always_present"]))
        lines += [
            "  present where decoded ÷ reference amplitude ≥ 0.5; neutral: amplitude in the neutral model,",
            "  the Gaussians that changes are counted from; percentile: 95th percentile of the decoded",
            "  amplitude over particles; optional: Gaussians of pieces that are sometimes absent; trivial:",
            "  calling everything present.",
        ]
    if "regions" in scores:
        row = scores["regions"]
        lines.append(_line("regions: ARI with pieces", row["ari"]))
        lines.append(_line("regions: pieces recovered", f"{row['recovered']} of {row['pieces']}"))
        lines.append("  recovered: one of the regions matches the piece with IoU of Gaussians ≥ 0.5.")
        lines.append(_line("regions besides, of the core", row["extra"], row["core"]))
    if scores.get("kinds"):
        row = scores["kinds"]
        lines.append(_line("regions: kind named rightly", f"{row['right']} of {row['of']}"))
    if "classes" in scores:
        lines.append(_line("classes of regions: accuracy", scores["classes"]["accuracy"]))
        lines += [
            "  particles whose class in a region says rightly whether its piece is there, mean over",
            "  pieces, 0.5 for one without region or whose region tells no classes apart; a class is",
            "  present where the region's mean amplitude is above the midpoint of its 5th and 95th",
            "  percentile.",
        ]
        if "sure" in scores["classes"]:
            row = scores["classes"]["sure"]
            lines.append(_line("classes of 90 % and more: right", row["right"]))
            lines.append(_line("  their share, mean probability", row["sure"], row["expected"]))
    if "angles" in scores:
        lines.append(_line("least |rho|, coordinate and angle", scores["angles"]["least"]))
        lines += [
            "  Spearman's, first coordinate of a region's embedding against the angle of its",
            "  piece; 0 for a piece without region.",
        ]
    if scores.get("deviations"):
        lines.append(_line("errors ÷ deviations of latents", scores["deviations"]["z"]))
        lines.append("  1 where the run's deviations are true; presence and angle of pieces fitted by the latents.")
    if "motion" in scores:
        row = scores["motion"]
        lines.append(_line("motion RMSD (Å)", row["rmsd"]))
        lines.append(_line("motion RMSD about the mean (Å)", row["rmsd_about_mean"]))
        lines.append(_line("the same for no motion (Å)", row["rmsd_without_motion"]))
        lines += [
            "  displacement from the neutral model against that of the closest atom, root mean",
            "  square over Gaussians, mean over particles; about the mean: each Gaussian's mean",
            "  displacement over particles taken off both.",
        ]
    return lines


def _particle_lines(values: dict[str, Any]) -> list[str]:
    lines = ["", "Particles"]
    if "contrast" in values:
        row = values["contrast"]
        lines.append(_line("contrast, correlation with the true", row["correlation"]))
        lines.append(_line("  its spread, and the true one", row["spread"], row["true_spread"]))
        lines.append(_line("  its errors ÷ their deviation", row["z"]))
    if "junk" in values:
        row = values["junk"]
        lines.append(_line("junk", "AUC", "recall", "precision"))
        lines.append(_line("", row["auc"], row["recall"], row["precision"]))
        lines.append("  called junk: a probability above ½; every other score is of what is no junk.")
    if "poses" in values:
        lines.append(_line("poses, off in the median by", "degrees", "Å"))
        for name in ("given", "refined"):
            row = values["poses"][name]
            lines.append(_line(f"  as {name}", row["rotation"], row["shift"]))
        if "frame" in values["poses"]:
            row = values["poses"]["frame"]
            hand = ", mirror image" if row["mirrored"] else ""
            lines.append(_line(f"  as refined, all turned by {row['turn']:.0f}°{hand}", row["rotation"], row["shift"]))
        lines.append(_line("  errors of the refined ones ÷ their deviation", values["poses"]["refined"]["z"]))
    return lines


def _volume_lines(scores: dict[str, Any], mask: str) -> list[str]:
    lines = [
        "",
        f"Volumes of {scores['images']} particles (0, N//n, 2N//n, …; {scores['classes']} classes), "
        "each against its own true map",
        _line("", "mean", "median", "std", "count"),
    ]
    metrics = {
        "fsc_auc": "FSC_AUC",
        "fsc_auc_normalised": "FSC_AUC ÷ largest",
        "chamfer_mass": "Chamfer (Å), mass level",
        "viou_mass": "vIoU, mass level",
        "chamfer_fixed": "Chamfer (Å), fixed level",
        "viou_fixed": "vIoU, fixed level",
    }
    for name, title in metrics.items():
        for subject, named in (("floor", "floor"), ("model", "model"), ("still", "class"), ("bound", "bound")):
            if name in scores.get(subject, {}):
                row = scores[subject][name]
                cells = (row["mean"], row["median"], row["std"], row["count"])
                lines.append(_line(f"{title}, {named}", *cells))
    lines.append(_line("gap floor → bound closed (FSC_AUC)", scores["gap_closed"]))
    lines.append(_line("ratio to bound (FSC_AUC)", scores["ratio_to_bound"]))
    if scores["gap_closed"] is None:
        lines.append("  gap: none, as the bound is no better than the floor; its classes have too few images each.")
    if (scores["ratio_to_bound"] or 0) > 1:
        lines += [
            "  above the bound: each class of the bound is made of its own images alone, and has their noise; a model",
            "  that learns from all images what the classes have in common, or takes noise off, can come nearer to the",
            "  truth. It is no mistake, and not all of the gap that the truth leaves.",
        ]
    shape = {"sphere": "soft ball, 7/16 of the box, edge 1/16", "none": "no mask"}.get(mask, mask)
    lines += [
        f"  FSC: both maps masked ({shape}); shell i holds i-1 ≤ r < i, raw and signed;",
        "  area by trapezoid over i/D in 1/pixel; the largest it can be is (D/2-1)/D; the mean of a map,",
        "  which images do not fix, is fitted to the truth.",
        f"  floor: one backprojection of {scores['consensus_images']} images for every particle; "
        "bound: backprojection of each true",
        "  class. Chamfer: ½ (mean A→B + mean B→A) over voxel centres; vIoU: |A∩B| / |A∪B|; maps",
        "  scaled and offset to the truth by least squares first; mass level: encloses the true",
        "  mass (--mass, or the scattering of protein) at 1.21 Å³/Da; fixed level: "
        f"{scores['level_fixed']:.4g} in its unit.",
    ]
    if "chamfer_mass" not in scores["model"]:
        lines.append("  mass level: left out, a truth made from maps tells no mass; give it with --mass.")
    if "following" in scores:
        lines += _following_lines(scores["following"])
    return lines


def _following_lines(molecules: dict[str, Any]) -> list[str]:
    lines = ["", "How far volumes follow the motion of each molecule that moves"]
    rows = {
        "images": "images",
        "own": "FSC_AUC with the own true map",
        "unturned": "FSC_AUC with the unturned true map",
        "still": "FSC_AUC of one map a class",
        "bound": "FSC_AUC of the bound",
        "correlation": "correlation of what changes",
        "extent": "extent of what changes",
    }
    lines.append(_line("", *(f"label {name}" for name in molecules)))
    lines += [_line(title, *(row[key] for row in molecules.values())) for key, title in rows.items()]
    for key, title in (("rho_volumes", "|rho|, volumes and angle"), ("rho_latents", "|rho|, latents and angle")):
        for piece in range(max(len(row.get(key, [])) for row in molecules.values())):
            cells = [row[key][piece] if piece < len(row[key]) else "" for row in molecules.values()]
            lines.append(_line(f"{title} {piece + 1}", *cells))
    lines += [
        "  class: one backprojection of each true class, the most that classes without motion reach;",
        "  bound: each piece backprojected in its own frame by the true angles, and the pieces joined;",
        "  unturned: with all angles 0, their mean; what changes: volumes less their mean over particles,",
        "  1 where they follow as the true ones do, 0 for one volume for all; |rho|: Spearman's, of the first",
        "  principal component over the molecule's particles and the angle of each piece.",
    ]
    return lines
