"""solar_system: the ephemeris, splits by time."""

import importlib.util

import numpy as np
import pytest

from keras_remul import datasets

pytestmark = pytest.mark.backend_independent

INSTALLED = all(map(importlib.util.find_spec, ("jplephem", "de421")))
needs_extra = pytest.mark.skipif(
    not INSTALLED, reason="needs the extra `solar`: jplephem and de421"
)
YEAR = 365.25


@pytest.mark.skipif(INSTALLED, reason="jplephem and de421 are installed.")
def test_without_jplephem(tmp_path):
    with pytest.raises(ImportError, match=r"keras-remul\[solar\]"):
        datasets.load("solar_system/tiny", data_dir=tmp_path, verbose=0)


@needs_extra
def test_equals_the_reference(shared_data):
    from keras_remul.datasets.solar_system import ephemeris

    path = shared_data / "jpl_de421/solar_system_de421_4day.npz"
    with np.load(path) as file:
        known = dict(file)
    assert tuple(known["names"]) == ephemeris.BODIES
    x, v = ephemeris.states(known["jd_tdb"])
    np.testing.assert_allclose(x, known["pos_au"], atol=1e-12)
    np.testing.assert_allclose(v, known["vel_au_per_day"], atol=1e-12)
    gm = known["gm_au3_per_day2"]
    np.testing.assert_allclose(ephemeris.masses(), gm / gm[0], rtol=1e-12)


@needs_extra
def test_orbits():
    from keras_remul.datasets.solar_system import ephemeris

    days = 2451545.0 + np.arange(0, 30 * YEAR, 1.0)  # from 2000 on
    x, v = ephemeris.states(days)
    numeric = (x[2:] - x[:-2]) / 2
    np.testing.assert_allclose(numeric, v[1:-1], atol=2e-4)
    m = ephemeris.masses()
    assert np.abs((m[:, None] * x).sum(1)).max() < 1e-8  # the barycentre
    distance = np.linalg.norm(x - x[:, :1], axis=-1).mean(0)
    axes = [0, 0.39, 0.72, 1.0, 1.0, 1.53, 5.2, 9.6, 19.2, 30, 34]
    np.testing.assert_allclose(distance[1:], axes[1:], rtol=0.1)
    assert m[3] == pytest.approx(1 / 332946, rel=1e-4)
    with pytest.raises(ValueError, match="DE421 covers"):
        ephemeris.states([2.3e6])


@needs_extra
def test_splits_are_years_apart(tmp_path):
    from keras_remul.datasets.solar_system import ephemeris
    from keras_remul.datasets.solar_system.builder import SolarSystemConfig

    for horizon in (32, 128):
        config = SolarSystemConfig(name="any", horizon=horizon)
        parts = config.days()
        assert [len(part) for part in parts] == [
            -(-int(span - horizon + 1) // 4) for span in (27393, 13514, 13877)
        ]
        for part, later in zip(parts, parts[1:], strict=False):
            assert part[-1] + horizon <= later[0]
    pairs = datasets.load(
        "solar_system/tiny",
        ["train", "validation", "test"],
        data_dir=tmp_path,
        verbose=0,
    )
    assert [len(y) for _, y in pairs] == [28, 14, 14]
    x, y = pairs[0]
    days = 2415021.0 + 1000 * np.arange(28)
    np.testing.assert_allclose(
        x["positions"], ephemeris.states(days)[0], rtol=1e-6
    )
    np.testing.assert_allclose(y, ephemeris.states(days + 32)[0], rtol=1e-6)
