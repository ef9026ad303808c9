"""Is one set of training runs worse than another, beyond chance in training? One-sided t tests on scores in points.

Both sides were scored on the same rows, so they differ only in training, and the seeds show how much of that is chance.
"The gate" in `docs/statistics.md` describes the method, its sources and its limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NOISE = 1e-12  # variances of equal scores, in squared points, that rounding leaves; one row of a million gives more


@dataclass(frozen=True)
class Change:
    """Now minus blessed, with the standard error and the degrees of freedom of its estimate."""

    blessed: float
    now: float
    error: float
    df: float

    @property
    def difference(self) -> float:
        return self.now - self.blessed

    def p_of_drop(self) -> float:
        """Return the one-sided p: the probability of a drop of this size or more if nothing has changed."""
        return _t_below(self.difference, self.error, self.df)

    def p_of_rise(self) -> float:
        return _t_below(-self.difference, self.error, self.df)

    def least(self, p: float) -> float:
        """Return the smallest difference whose one-sided p would be at most `p`."""
        if self.error == 0:
            return 0.0
        from scipy.special import stdtrit

        return float(stdtrit(min(self.df, 1e9), 1 - p)) * self.error


def _t_below(difference: float, error: float, df: float) -> float:
    if error == 0:
        return 0.0 if difference < 0 else 1.0
    from scipy.special import stdtr  # takes half a second, which `xeval --help` and unchanged weights do not need

    return float(stdtr(min(df, 1e9), difference / error))


def of_mean(blessed: np.ndarray, now: np.ndarray) -> Change:
    """Return the change of the mean over languages between (S, L) scores of S seeds each, with S at least 2.

    The mean is taken within each seed, so the spread includes what a training run does to all languages together.
    """
    n_seeds = len(blessed)
    sides = blessed.mean(axis=1), now.mean(axis=1)  # (S,) each
    variance = float(np.mean([side.var(ddof=1) for side in sides]))
    return Change(
        float(sides[0].mean()), float(sides[1].mean()), math.sqrt(2 * variance / n_seeds), 2.0 * (n_seeds - 1)
    )


def of_languages(blessed: np.ndarray, now: np.ndarray) -> list[Change]:
    """Return the change of each language between (S, L) scores of S seeds each, with S at least 2.

    Languages may differ in spread. So a language's variance is drawn from its own towards a typical one, the less the
    more unevenly the languages spread (Smyth 2004), or its own if that is larger. Where they spread evenly, the typical
    one is the average over languages, as in a split plot whose whole plots are training runs (Cochran and Cox 1957,
    *Experimental Designs*, chapter 7).
    """
    n_seeds, n_languages = blessed.shape
    own = (blessed.var(axis=0, ddof=1) + now.var(axis=0, ddof=1)) / 2  # (L,)
    df_own = 2.0 * (n_seeds - 1)
    shared = float(own.mean())
    of_means = (of_mean(blessed, now).error ** 2) * n_seeds / 2
    df = satterthwaite(shared, of_means, n_seeds, n_languages)
    drawn = np.full_like(own, shared)
    uneven = typical(own[own > _NOISE], df_own)
    if uneven is not None:
        variance, df_typical = uneven
        drawn = (df_typical * variance + df_own * own) / (df_typical + df_own)
        df = min(df, df_typical + df_own)
    errors = np.sqrt(2 * np.maximum(own, drawn) / n_seeds).tolist()
    means = zip(blessed.mean(axis=0).tolist(), now.mean(axis=0).tolist(), errors, strict=True)
    return [Change(old, new, error, df) for old, new, error in means]


def typical(variances: np.ndarray, df: float) -> tuple[float, float] | None:
    """Return the variance that is typical of languages, and how many degrees of freedom it is worth for each of them.

    None if these (L,) variances, of `df` degrees of freedom each, differ no more than equal ones would by chance. The
    method is that of moments on logarithms: G. K. Smyth 2004, *Statistical Applications in Genetics and Molecular
    Biology* 3(1), section 6.2.
    """
    if len(variances) < 2:
        return None
    from scipy.special import digamma, polygamma

    logs = np.log(variances) - digamma(df / 2) + math.log(df / 2)  # (L,), each without the bias of a logarithm
    unevenness = float(logs.var(ddof=1) - polygamma(1, df / 2))
    if unevenness <= 0:
        return None
    half = _inverse_trigamma(unevenness)
    return math.exp(float(logs.mean() + digamma(half)) - math.log(half)), 2 * half


def _inverse_trigamma(value: float) -> float:
    """Return the y > 0 whose trigamma is `value`, by Newton's method on 1 / trigamma, which is nearly straight."""
    from scipy.special import polygamma

    y = 0.5 + 1 / value
    for _ in range(20):
        trigamma = polygamma(1, y)
        y += trigamma * (1 - trigamma / value) / polygamma(2, y)
    return float(y)


def satterthwaite(shared: float, of_means: float, n_seeds: int, n_languages: int) -> float:
    """Return the degrees of freedom of the average variance over languages.

    Satterthwaite 1946, *Biometrics Bulletin* 2. `shared` times the number of languages L is the sum of two independent
    mean squares. One is between training runs: L times the variance of the mean over languages, `of_means`, with
    2 (S - 1) degrees of freedom. The other is within training runs, with L - 1 times as many. If languages always move
    together, 2 (S - 1) are left.
    """
    df = 2.0 * (n_seeds - 1)
    between = n_languages * of_means
    within = max(0.0, n_languages * shared - between)
    doubt = between**2 / df + within**2 / (df * max(1, n_languages - 1))
    return (between + within) ** 2 / doubt if doubt > 0 else df


def exact(blessed: np.ndarray, now: np.ndarray) -> tuple[Change, list[Change]]:
    """Return the change of the mean and of each language between (S, L) scores of the same weights on the same rows.

    No chance is left that could explain a difference, so its error is zero.
    """
    sides = [(side.mean(), side.mean(axis=0).tolist()) for side in (blessed, now)]
    (old_mean, old), (new_mean, new) = sides
    cells = [Change(*values, 0.0, math.inf) for values in zip(old, new, strict=True)]
    return Change(float(old_mean), float(new_mean), 0.0, math.inf), cells


def as_drawn(
    blessed: Sequence[float], now: Sequence[float], blessed_errors: Sequence[float], now_errors: Sequence[float]
) -> tuple[Change, list[Change]]:
    """Return the change of the mean and of each language for a checkpoint that was evaluated without any training.

    There is no chance in training here, so the rows are the sample. Both sides have the same rows, but counts do not
    show how these pair up. So the two sides are treated as independent draws, and the languages of a mean as moving
    together, which makes errors too large rather than too small. `blessed_errors` and `now_errors` are standard errors
    in points.
    """
    errors = [math.hypot(old, new) for old, new in zip(blessed_errors, now_errors, strict=True)]
    cells = [Change(*values, math.inf) for values in zip(blessed, now, errors, strict=True)]
    n = len(cells)
    return Change(sum(blessed) / n, sum(now) / n, sum(errors) / n, math.inf), cells


def of_throughput(blessed: Sequence[float], now: Sequence[float]) -> Change:
    """Return the change of the logarithm of (S,) rows per second, one for each seed, with S at least 2."""
    logs = [np.log(np.asarray(side, np.float64))[:, None] for side in (blessed, now)]  # (S, 1) each
    return of_mean(*logs)
