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
        regularisation: sklearn's C, the inverse strength of the penalty.
    """
    scores = np.zeros((len(eval_features), train_targets.shape[1]))
    for index, target in enumerate(train_targets.T):
        if target.any() and not target.all():
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=2000))
            scores[:, index] = probe.fit(train_features, target).decision_function(eval_features)
    scores[:, ~train_targets.any(axis=0)] = scores.min() - 1
    scores[:, train_targets.all(axis=0)] = scores.max() + 1
    return scores
