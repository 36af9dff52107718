"""How numbers are written for people: one formatter for the terminal and for the HTML report.

Files that other programs read (`metrics.jsonl`, `scores.json`) keep full precision; they do not
pass through here.
"""

import math

MISSING = "–"


def format_number(value: float | None) -> str:
    """Write a number with about three significant digits.

    Args:
        value: Any float; None and NaN stand for "not measured".

    Returns:
        The shortest of the usual forms that keeps three digits.

    Examples:
        >>> format_number(0.12345), format_number(-0.5), format_number(0.0)
        ('0.123', '-0.500', '0')
        >>> format_number(12.345), format_number(123.45), format_number(146893.0)
        ('12.3', '123', '146,893')
        >>> format_number(0.00002), format_number(None), format_number(math.inf)
        ('2.0e-05', '–', 'inf')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    magnitude = abs(value)
    if magnitude == 0:
        return "0"
    if magnitude < 0.001:
        return f"{value:.1e}"
    if magnitude < 9.9995:
        return f"{value:.3f}"
    if magnitude < 99.95:
        return f"{value:.1f}"
    return f"{value:,.0f}"


def format_score(value: float | None, digits: int = 3) -> str:
    """Write a score that usually lies in [0, 1] or [0, 3] with fixed decimals.

    Args:
        value: Any float; None and NaN stand for "not measured".
        digits: Decimals.

    Returns:
        Fixed-point text.

    Examples:
        >>> format_score(0.5), format_score(0.0), format_score(1.25, 2), format_score(None)
        ('0.500', '0.000', '1.25', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:.{digits}f}"


def format_interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Write a confidence interval.

    Args:
        low: Lower end.
        high: Upper end.
        digits: Decimals of both ends.

    Returns:
        The interval in brackets, or an empty string if an end is missing.

    Examples:
        >>> format_interval(0.5, 0.75), format_interval(None, 0.75)
        ('[0.500, 0.750]', '')
    """
    if low is None or high is None:
        return ""
    return f"[{format_score(low, digits)}, {format_score(high, digits)}]"


def format_share(value: float | None) -> str:
    """Write a share of 1 as a percentage.

    Args:
        value: A share in [0, 1]; None and NaN stand for "not measured".

    Returns:
        Whole percent; a share above 0 never reads as 0 %.

    Examples:
        >>> format_share(0.256), format_share(0.0), format_share(0.001), format_share(None)
        ('26%', '0%', '<1%', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    if 0 < value < 0.005:
        return "<1%"
    return f"{100 * value:.0f}%"


def format_duration(seconds: float | None) -> str:
    """Write a duration with its two largest units; one above 0 never reads as none.

    Args:
        seconds: 0 or more; None and NaN stand for "not known".

    Returns:
        At most six characters up to 99 days.

    Examples:
        >>> format_duration(0.25), format_duration(4.24), format_duration(59.96)
        ('0.25s', '4.2s', '1m00s')
        >>> format_duration(75), format_duration(3725), format_duration(200000)
        ('1m15s', '1h02m', '2d07h')
        >>> format_duration(0), format_duration(0.0049), format_duration(None)
        ('0s', '<0.01s', '–')
    """
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 0.005:
        return "<0.01s" if seconds > 0 else "0s"
    if seconds < 0.995:
        return f"{seconds:.2f}s"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
