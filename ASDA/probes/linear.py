"""A logistic regression for each class."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def probe_scores(
    train_features: np.ndarray, train_targets: np.ndarray, eval_features: np.ndarray, regularisation: float
) -> np.ndarray:
    """Scores (n, C) of the eval clips; a class that no train clip has (or all have) scores 0 throughout.

    Args:
        train_targets: (n, C), 1 where a clip has the class, NaN where it was not judged: it does not train that class.
        regularisation: sklearn's C, the inverse strength of the penalty.
    """
    scores = np.zeros((len(eval_features), train_targets.shape[1]))
    for index, target in enumerate(train_targets.T):
        judged = ~np.isnan(target)
        has_it = target[judged] == 1
        if has_it.any() and not has_it.all():
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=2000))
            scores[:, index] = probe.fit(train_features[judged], has_it).decision_function(eval_features)
    return scores
