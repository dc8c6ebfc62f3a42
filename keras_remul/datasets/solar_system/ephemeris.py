"""Positions and velocities of the JPL ephemeris DE421."""

import numpy as np

BODIES = (
    "sun",
    "mercury",
    "venus",
    "earth",
    "moon",
    "mars",
    "jupiter",
    "saturn",
    "uranus",
    "neptune",
    "pluto",
)
# Names of G M among the constants of DE421; GMB is that of Earth and Moon.
_GM = {
    "sun": "GMS",
    "mercury": "GM1",
    "venus": "GM2",
    "mars": "GM4",
    "jupiter": "GM5",
    "saturn": "GM6",
    "uranus": "GM7",
    "neptune": "GM8",
    "pluto": "GM9",
}


def _ephemeris():
    try:
        import de421
        from jplephem.ephem import Ephemeris
    except ImportError as error:
        raise ImportError(
            "The solar system needs jplephem and de421: "
            "`pip install keras-remul[solar]`."
        ) from error
    return Ephemeris(de421)


def states(days):
    """Positions and velocities of the Sun, the planets, Pluto and the Moon.

    Args:
        days: Julian dates (TDB), 2414992.5 (December 1899) to 2469807.5 (end
            of 2049), array `(T,)`.

    Returns:
        `(positions, velocities)`, each `(T, 11, 3)` float64, in astronomical
        units and per day: relative to the barycentre of the solar system,
        along the axes of the ICRF (the equator of the Earth). The order of the
        bodies is `BODIES`.

    Raises:
        ImportError: jplephem or de421 is not installed.
        ValueError: for a date that DE421 does not cover.
    """
    ephemeris = _ephemeris()
    days = np.asarray(days, "float64")
    inside = (ephemeris.jalpha <= days) & (days <= ephemeris.jomega)
    if not days.size or not inside.all():  # neither is NaN
        raise ValueError(
            f"DE421 covers the Julian dates {ephemeris.jalpha} to "
            f"{ephemeris.jomega}. Received: {days[~inside][:5].tolist()}"
        )

    def state(name):  # (2, T, 3), in AU and AU per day
        both = np.stack(ephemeris.position_and_velocity(name, days))
        return np.swapaxes(both, 1, 2) / ephemeris.AU

    moon = state("moon")  # from the Earth
    earth = state("earthmoon") - moon / (1 + ephemeris.EMRAT)
    known = {"earth": earth, "moon": earth + moon}
    others = {name: state(name) for name in BODIES if name not in known}
    x, v = np.stack([(known | others)[name] for name in BODIES], axis=2)
    return x, v


def masses():
    """Masses of the bodies in units of that of the Sun, `(11,)`."""
    ephemeris = _ephemeris()
    gm = {body: getattr(ephemeris, name) for body, name in _GM.items()}
    gm["moon"] = ephemeris.GMB / (1 + ephemeris.EMRAT)
    gm["earth"] = ephemeris.GMB - gm["moon"]
    return np.array([gm[body] for body in BODIES]) / gm["sun"]
