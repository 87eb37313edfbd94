"""A large survey's summary, made up: for the page's tests and its benchmark."""

from __future__ import annotations

import numpy as np

from critaudit.surveying.summary import HEADLINE, ModelRow, Outlier, Spread, Summary

MODELS, LAYERS = 1000, 200


def large() -> Summary:
    """Models of a dozen families, some without a report, some with hostile names."""
    rng = np.random.default_rng(0)
    families = [f"family{index}" for index in range(12)]
    rows = []
    for index in range(MODELS):
        failed = index % 97 == 5
        spreads = {} if failed else {name: Spread(1.5, 1.2, 1.9, LAYERS) for name in HEADLINE}
        if not failed:
            spreads["entries.alpha"] = Spread(1 + index / MODELS, 0.9 + index / MODELS, 1.1 + index / MODELS, LAYERS)
        rows.append(
            ModelRow(
                source=f"zoo/<b>model</b>-{index:04d}.pt",
                status="crashed" if failed else "audited",
                reason="</script><script>alert(1)</script>" if failed else None,
                page=None if failed else f"pages/{index}.html",
                architecture=None if failed else f"family{index % 12}_{index}",
                family=None if failed else f"family{index % 12}",
                parameters=None if failed else 10**6 + index,
                layers=None if failed else LAYERS,
                spreads=spreads,
                trained_share=0.5,
                problems=int(index % 50 == 0),
                warnings=0,
            )
        )
    size = MODELS * LAYERS
    return Summary(
        rows=tuple(rows),
        outliers=(Outlier(rows[0].source, "layer.0", "conv", "entries.alpha", 0.6, -9.0),),
        statuses={"audited": 989, "crashed": 11},
        layer_count=size,
        columns=HEADLINE,
        family=np.array([families[index // LAYERS % 12] for index in range(size)], dtype=object),
        kind=np.array(["conv", "linear"] * (size // 2), dtype=object),
        depth=np.tile((np.arange(LAYERS) + 0.5) / LAYERS, MODELS),
        values={name: np.exp(rng.standard_normal(size)) for name in HEADLINE},
    )
