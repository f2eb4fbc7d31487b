"""Aggregates of a run: what its brain run stores."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import numpy as np

from ..errors import IQAError
from ..matching import LabelMatcher
from ..reading import read_values
from .foundation_brain import SCHEMA
from .foundation_plan import ORIGINAL
from .results import quality_against, robustness


def build_report(
    samples, plan, columns, fields, output, failures, n_resamples, seed
) -> dict:
    """Aggregates a run's perturbed images.

    Args:
        samples: the collection
        plan: its :class:`.foundation_plan.Plan`
        columns: the output's :class:`.foundation_output.SetColumns`
        fields: quality fields, :class:`~fiftyone_iqa.quality_columns`'s
        output: name of the output dataset
        failures: why originals failed, by id
        n_resamples: bootstrap resamples
        seed: of the resamples

    Raises:
        IQAError: if there is no perturbed image at all
    """
    if not len(columns):
        raise IQAError(
            "No image could be read, e.g.: "
            f"{next(iter(failures.values()), 'there is none')}"
        )
    source_of = dict(zip(plan.rows.ids, plan.rows.sources))
    source = [source_of.get(s, s) for s in columns.sources]
    matches = {slug: _agrees(columns, slug, plan) for slug in plan.models}
    judged, sets = {}, {}
    for one in plan.sets:
        accepted = columns.accepted[one.name]
        steps = columns.steps[one.name]
        recognised = columns.recognised[one.name]
        sets[one.name] = {
            "generator": one.generator.name,
            "guide": one.guide,
            "settings": one.generator.settings,
            "n_accepted": int(accepted.sum()),
            "n_unrecognised": int((~recognised).sum()),
            "n_rejected_at_once": int((recognised & ~accepted).sum()),
            "n_at_budget": int((steps == one.generator.budget).sum()),
            "mean_steps": float(steps[accepted].mean())
            if accepted.any()
            else None,
        }
        judged[one.name] = {}
        for slug in plan.models:
            right = columns.correct[one.name, slug]
            found = robustness(
                columns.correct[ORIGINAL, slug],
                right,
                accepted,
                source,
                n_resamples,
                seed,
            )
            # On accepted images the oracle's prediction is the true class
            agrees = np.where(accepted, right, matches[slug])
            judged[one.name][slug] = {
                "robustness": found.to_dict(),
                "agreement": {
                    "a": float(agrees.mean()),
                    "b": float(agrees[accepted].mean())
                    if accepted.any()
                    else None,
                },
            }
    encoder = plan.oracle.encoder
    report = {
        "schema": SCHEMA,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "n": len(columns),
        "n_failed": len(failures),
        "n_unlabelled": plan.rows.n_unlabelled,
        "output": output,
        "label_path": plan.label_path,
        "oracle": {
            "id": encoder.id,
            "name": encoder.name,
            "template": plan.oracle.template,
            "n_classes": len(plan.oracle.names),
            "caveat": encoder.caveat,
        },
        "models": {
            slug: {
                "id": model.id,
                "circular_share": plan.circular[slug],
                "agreement_on_originals": float(matches[slug].mean()),
            }
            for slug, model in plan.models.items()
        },
        "sets": sets,
        "judged": judged,
        "quality": _quality_rows(
            samples, plan, columns, fields, n_resamples, seed
        ),
    }
    # As it will be when it is loaded: JSON knows no tuples
    return json.loads(json.dumps(report))


def _agrees(columns, slug, plan):
    """Returns whether model and oracle say the same of the originals."""
    matcher = LabelMatcher([], plan.oracle.names)
    pairs = zip(columns.labels[ORIGINAL, slug], columns.oracle)
    return np.array([matcher.match(a, b) for a, b in pairs], dtype=bool)


def _quality_rows(samples, plan, columns, fields, n_resamples, seed):
    if not fields:
        return []
    ids, *scores = read_values(samples, ["id", *(f.path for f in fields)])
    row_of = {id_: i for i, id_ in enumerate(ids)}
    at = [row_of[s] for s in columns.sources]
    rows = []
    for field, values in zip(fields, np.array(scores, dtype=float)[:, at]):
        for one in plan.sets:
            known = columns.recognised[one.name]
            slugs = [one.guide] if one.guide else list(plan.models)
            outcomes = {
                ("steps", one.guide): columns.steps[one.name].astype(float)
            }
            for slug in slugs:
                right = columns.correct[one.name, slug]
                outcomes["correct", slug] = right.astype(float)
            for (outcome, slug), column in outcomes.items():
                found = quality_against(
                    values,
                    np.where(known, column, np.nan),
                    n_resamples,
                    seed,
                )
                if found is None:
                    continue
                rows.append(
                    {
                        "metric": field.path,
                        "direction": field.direction,
                        "set": one.name,
                        "outcome": outcome,
                        "model": slug,
                        "n": found["n"],
                        "srcc": found["srcc"]["value"],
                        "srcc_low": found["srcc"]["low"],
                        "srcc_high": found["srcc"]["high"],
                        "p": found["srcc"]["p"],
                        "krcc": found["krcc"]["value"],
                        "plcc": found["plcc"]["value"],
                    }
                )
    return rows
