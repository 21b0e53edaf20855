"""Recomputes with scikit-learn the values that the unit tests of src/preprocess/report expect."""

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

i = np.arange(12)
x = np.stack([np.sin(1.7 * i) + (i % 3) * 0.6, np.cos(0.9 * i), (i * i % 7) / 3 - 1], axis=1)
y = (i + i // 5) % 3
for c in (1.0, 0.05):
    model = LogisticRegression(C=c, tol=1e-12, max_iter=100_000).fit(x, y)
    intercept = model.intercept_ - model.intercept_.mean()
    weights = np.concatenate([model.coef_, intercept[:, None]], axis=1)
    print(f"({c},", [round(float(v), 7) for v in weights.ravel()], ",", [round(float(v), 7) for v in model.predict_proba(x[:1])[0]], "),")

# A proportion of 0.75 among 12.8 cases: Wilson's formula takes any n.
z, p, n = stats.norm.ppf(0.975), 0.75, 12.8
centre, half = (p + z * z / (2 * n)) / (1 + z * z / n), z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
print("wilson", centre - half, centre + half)
