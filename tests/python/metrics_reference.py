"""Recomputes with scikit-learn, scipy and numpy the values that the unit tests of src/metrics expect."""

import numpy as np
from scipy import optimize, stats
from sklearn import metrics

y = np.array([0, 0, 1, 1, 2, 2])
p = np.array([[.7, .2, .1], [.3, .4, .3], [.2, .5, .3], [.25, .5, .25], [.1, .3, .6], [.5, .2, .3]])
print("log loss", repr(metrics.log_loss(y, p)))
print("brier", repr(((p - np.eye(3)[y]) ** 2).sum(1).mean()))
print("auroc", repr(metrics.roc_auc_score(y, p, multi_class="ovr", average="macro")))
print("balanced accuracy", repr(metrics.balanced_accuracy_score(y, p.argmax(1))))
for k, n in [(8, 10), (0, 12), (12, 12)]:
    print("wilson", k, n, stats.binomtest(k, n).proportion_ci(0.95, method="wilson"))
    print("exact", k, n, stats.binomtest(k, n).proportion_ci(0.95, method="exact"))
q = np.array([.05, .1, .2, .3, .35, .45, .55, .6, .7, .8, .9, .97])
o = np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1])
x = np.log(q / (1 - q))
loss = lambda a, b: np.logaddexp(0, a + b * x).sum() - ((a + b * x) * o).sum()
free = optimize.minimize(lambda t: loss(*t), [0, 1], tol=1e-12)
large = optimize.minimize_scalar(lambda a: loss(a, 1), tol=1e-12)
print("slope", free.x[1], "intercept", large.x)
