"""A logistic regression for each class, one against the rest."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def logistic_scores(
    train_features: np.ndarray, train_targets: np.ndarray, eval_features: np.ndarray, regularisation: float
) -> np.ndarray:
    """Scores (n, C) of the eval clips; features (n, D) are scaled by the statistics of the train clips.

    A class that no train clip has is scored below all others, one that all have above: neither can be told from clips.

    Args:
        train_features: (m, D).
        train_targets: (m, C), 1 where a clip has the class, NaN where it was not judged: it does not train that class.
        eval_features: (n, D).
        regularisation: sklearn's C, the inverse strength of the penalty.
    """
    judged, has_it = ~np.isnan(train_targets), train_targets == 1
    absent = ~has_it.any(axis=0)
    always = ~absent & (has_it == judged).all(axis=0)
    scores = np.zeros((len(eval_features), train_targets.shape[1]))
    for index in np.flatnonzero(~absent & ~always):
        rows = judged[:, index]
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=2000))
        scores[:, index] = probe.fit(train_features[rows], has_it[rows, index]).decision_function(eval_features)
    scores[:, absent] = scores.min() - 1
    scores[:, always] = scores.max() + 1
    return scores
